//! Compiles the eBPF programs.
//!
//! clang is called directly: a BPF object is one compiler call, and libbpf-cargo would bring a minute of build time
//! for a skeleton that is not used.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Tried in this order; Debian 12's plain `clang` is 14, which works too.
const COMPILERS: [&str; 7] =
    ["clang-16", "clang-19", "clang-18", "clang-17", "clang-15", "clang-14", "clang"];

fn main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-changed=src/bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?).join("guard.bpf.o");
    let headers = env::var_os("DEP_BPF_INCLUDE").ok_or("libbpf-sys did not say where its headers are")?;
    let endian = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb",
        _ => "bpfel",
    };
    // Of other processors the numbers of system calls and the registers are not known here.
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => Some("-D__TARGET_ARCH_x86"),
        _ => None,
    };
    let clang = compiler().ok_or(
        "no clang found, which compiles the eBPF programs: install it (Debian: apt-get install clang-16) \
         or name one in the environment variable CLANG",
    )?;
    let compiled = Command::new(&clang)
        .args(["-target", endian, "-g", "-O2", "-mcpu=v3", "-Wall", "-Werror", "-c"])
        .args(arch)
        // Paths inside the object must not depend on where it was built.
        .arg(format!("-fdebug-prefix-map={}=.", env::var("CARGO_MANIFEST_DIR").unwrap_or_default()))
        .arg("-I")
        .arg(&headers)
        .arg(Path::new("src/bpf/guard.bpf.c"))
        .arg("-o")
        .arg(&out)
        .status()
        .map_err(|error| format!("{clang} could not be started: {error}"))?;
    if compiled.success() {
        Ok(())
    } else {
        Err(format!("{clang} could not compile src/bpf/guard.bpf.c; its messages are above"))
    }
}

fn compiler() -> Option<String> {
    if let Ok(named) = env::var("CLANG") {
        return Some(named);
    }
    COMPILERS.into_iter().find(|name| answers(name)).map(str::to_owned)
}

fn answers(compiler: &str) -> bool {
    let asked = Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}
