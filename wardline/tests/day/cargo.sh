# A small crate is made, built, tested and run. needs: cargo
set -e
cargo new --quiet --vcs none counter
cd counter
printf 'fn main() { println!("{}", std::env::args().count()); }\n#[test]\nfn counts() { assert_eq!(1 + 1, 2); }\n' > src/main.rs
printf 'fn main() { println!("cargo:rerun-if-changed=build.rs"); }\n' > build.rs
cargo build --quiet --offline
cargo run --quiet --offline -- a b
