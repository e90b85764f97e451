//! Compiles the GMime shim when pkg-config finds gmime-3.0; without it that row is left out of the table.

use std::process::Command;

fn pkg_config(question: &str) -> Option<String> {
    let output = Command::new("pkg-config").args([question, "gmime-3.0"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn main() {
    println!("cargo:rerun-if-changed=gmime_shim.c");
    println!("cargo:rustc-check-cfg=cfg(gmime)");
    let (Some(flags), Some(libraries)) = (pkg_config("--cflags"), pkg_config("--libs")) else {
        println!("cargo:warning=gmime-3.0 is not installed: its row is left out");
        return;
    };
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let object = format!("{out}/shim.o");
    let mut compile = Command::new("cc");
    compile.args(["-O3", "-c", "gmime_shim.c", "-o", &object]).args(flags.split_whitespace());
    assert!(compile.status().is_ok_and(|s| s.success()), "cc gmime_shim.c");
    let mut archive = Command::new("ar");
    archive.args(["crs", &format!("{out}/libgmimeshim.a"), &object]);
    assert!(archive.status().is_ok_and(|s| s.success()), "ar");
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-lib=static=gmimeshim");
    for library in libraries.split_whitespace().filter_map(|l| l.strip_prefix("-l")) {
        println!("cargo:rustc-link-lib={library}");
    }
    println!("cargo:rustc-cfg=gmime");
}
