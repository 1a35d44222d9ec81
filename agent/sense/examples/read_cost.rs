use evtx::*;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let mode = std::env::args().nth(2).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let settings = ParserSettings::default().indent(false).num_threads(1);
    let t = Instant::now();
    let (mut n, mut len) = (0u64, 0usize);
    match mode.as_str() {
        "a" => {
            let mut p = EvtxParser::from_buffer(bytes).unwrap().with_configuration(settings);
            for c in p.chunks_json_bytes(false) {
                n += c.items.len() as u64;
                len += c.data.len();
            }
        }
        "b" => {
            for piece in bytes[4096..].chunks(16 * 65536) {
                let mut b = bytes[..4096].to_vec();
                b.extend_from_slice(piece);
                let mut p =
                    EvtxParser::from_read_seek(Cursor::new(b)).unwrap().with_configuration(settings.clone());
                for c in p.chunks_json_bytes(false) {
                    n += c.items.len() as u64;
                    len += c.data.len();
                }
            }
        }
        "e" => {
            for piece in bytes[4096..].chunks(65536) {
                let mut b = bytes[..4096].to_vec();
                b.extend_from_slice(piece);
                let mut p =
                    EvtxParser::from_read_seek(Cursor::new(b)).unwrap().with_configuration(settings.clone());
                for c in p.chunks_json_bytes(false) {
                    n += c.items.len() as u64;
                    len += c.data.len();
                }
            }
        }
        "c" => {
            let s = Arc::new(settings);
            for piece in bytes[4096..].chunks(65536) {
                let mut d = EvtxChunkData::new(piece.to_vec(), false).unwrap();
                let mut c = d.parse(Arc::clone(&s)).unwrap();
                for r in c.iter() {
                    let r = r.unwrap().into_json_bytes().unwrap();
                    n += 1;
                    len += r.data.len();
                }
            }
        }
        "d" => {
            let mut p = EvtxParser::from_buffer(bytes).unwrap().with_configuration(settings);
            for r in p.records_json_bytes() {
                let r = r.unwrap();
                n += 1;
                len += r.data.len();
            }
        }
        _ => unreachable!(),
    }
    println!("{mode} {n} {len} {:?} {:.3}", t.elapsed(), t.elapsed().as_secs_f64() * 1e6 / n as f64);
}
