//! Builds init as a static binary with plain rustc, to be embedded. Must not know more of init than its two roots.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

fn main() -> io::Result<()> {
    let missing = |name| io::Error::other(format!("cargo did not set {name}"));
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?);
    let target = env::var("TARGET").map_err(|_| missing("TARGET"))?;
    let source = Path::new("../init/src");
    println!("cargo::rerun-if-changed=../init/src");
    let compile = |args: &[&str], root: &str, to: &Path| {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        command.args([
            "--edition=2024",
            "-O",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
        ]);
        command.args(["--target", &target]).args(args).arg(source.join(root)).arg("-o").arg(to);
        if command.status()?.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("{command:?} failed")))
        }
    };
    let library = out.join("libinit.rlib");
    compile(&["--crate-type=lib", "--crate-name=init"], "lib.rs", &library)?;
    let external = format!("init={}", library.display());
    compile(&["--crate-name=troupe_init", "--extern", &external], "main.rs", &out.join("troupe-init"))
}
