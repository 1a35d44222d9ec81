//! Compiles the eBPF programs.

fn main() -> std::process::ExitCode {
    wardline_bpf::compile("guard", "v3")
}
