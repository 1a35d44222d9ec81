//! Compiles eBPF programs, for build scripts, and holds the header that all of them share (`include/wardline/types.h`).
//!
//! clang is called directly: a BPF object is one compiler call, and libbpf-cargo would bring a minute of build time
//! for a skeleton that is not used.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// Tried in this order; Debian 12's plain `clang` is 14, which works too.
const COMPILERS: [&str; 7] =
    ["clang-16", "clang-19", "clang-18", "clang-17", "clang-15", "clang-14", "clang"];

/// Compiles `src/bpf/NAME.bpf.c` of the crate whose build script this is to `OUT_DIR/NAME.bpf.o`, for the instructions
/// of `cpu` (clang's `-mcpu`: `v2`, `v3`). What is wrong is told on standard error.
///
/// The crate must depend on `libbpf-sys` itself, which tells build scripts where libbpf's headers are.
#[must_use]
pub fn compile(name: &str, cpu: &str) -> ExitCode {
    match try_compile(name, cpu) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn try_compile(name: &str, cpu: &str) -> Result<(), String> {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-changed=src/bpf");
    println!("cargo::rerun-if-changed={shared}");
    let source = format!("src/bpf/{name}.bpf.c");
    let out = env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?;
    let out = PathBuf::from(out).join(format!("{name}.bpf.o"));
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
        .args(["-target", endian, "-g", "-O2", "-Wall", "-Werror", "-c"])
        .arg(format!("-mcpu={cpu}"))
        .args(arch)
        // Paths inside the object must not depend on where it was built.
        .arg(format!("-fdebug-prefix-map={}=.", env::var("CARGO_MANIFEST_DIR").unwrap_or_default()))
        .arg("-I")
        .arg(&headers)
        .args(["-I", shared])
        .arg(&source)
        .arg("-o")
        .arg(&out)
        .status()
        .map_err(|error| format!("{clang} could not be started: {error}"))?;
    if compiled.success() {
        Ok(())
    } else {
        Err(format!("{clang} could not compile {source}; its messages are above"))
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
