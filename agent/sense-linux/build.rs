//! Compiles the eBPF programs.

fn main() -> std::process::ExitCode {
    let sensor = wardline_bpf::compile("sensor", "v2");
    if sensor == std::process::ExitCode::SUCCESS { wardline_bpf::compile("gate", "v2") } else { sensor }
}
