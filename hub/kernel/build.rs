//! Puts the console's style sheet, scripts and icon into the binary, under names that carry their content's hash.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// What `npm run build` writes, and what browsers are told about it.
const FILES: [(&str, &str); 5] = [
    ("console.css", "text/css; charset=utf-8"),
    ("console.js", "text/javascript; charset=utf-8"),
    ("favicon.svg", "image/svg+xml"),
    ("htmx.min.js", "text/javascript; charset=utf-8"),
    ("sse.js", "text/javascript; charset=utf-8"),
];

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console-assets/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=askama.toml");
    let mut code = String::from("/// Every embedded file, by name.\npub const FILES: &[Asset] = &[\n");
    for (name, content_type) in FILES {
        let path = dist.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let Ok(bytes) = fs::read(&path) else {
            println!(
                "cargo::error=the console's {name} has not been built; run ./run \
                 (or: npm ci && npm run build in hub/console-assets)"
            );
            return;
        };
        let path = path.canonicalize().expect("a file that was just read has a path");
        let (stem, end) = name.rsplit_once('.').expect("every name in FILES has a dot");
        writeln!(
            code,
            "    Asset {{ name: {name:?}, url: \"/assets/{stem}.{:016x}.{end}\", \
             content_type: {content_type:?}, bytes: include_bytes!({:?}) }},",
            fnv1a(&bytes),
            path.to_str().expect("the path of the source tree is UTF-8"),
        )
        .expect("writing to a String cannot fail");
    }
    code.push_str("];\n");
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&out).join("assets.rs"), code).expect("OUT_DIR can be written");
}

/// FNV-1a, 64 bits: tells one build's file from another's; nothing depends on it being hard to forge.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
