//! Compiles the eBPF programs.

fn main() -> std::process::ExitCode {
    wardline_bpf::compile("sensor", "v2")
}
