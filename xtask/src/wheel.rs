//! `cargo xtask wheel`: the Python package `libop` as one wheel for Python 3.11 and newer; `cargo xtask wheel --dev`
//! puts a quickly compiled one into `.venv`, for tests.
//!
//! Both use the folder `.venv` at the root with the packages of `crates/python/requirements-dev.txt`, and make it if it
//! is not there.

use crate::spawn;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};

const REQUIREMENTS: &str = "crates/python/requirements-dev.txt";
const MANIFEST: &str = "crates/python/Cargo.toml";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let dev = match arguments {
        [] => false,
        [word] if word == "--dev" => true,
        _ => bail!("write `cargo xtask wheel`, or `cargo xtask wheel --dev` for tests"),
    };
    if dev {
        return develop(&environment()?);
    }
    let wheel = build()?;
    println!("{}\nInstall it with `pip install {}`", wheel.display(), wheel.display());
    Ok(())
}

/// The release profile, as a file to give away: compiled as one piece, which nobody waits for twice.
pub(crate) fn build() -> Result<PathBuf> {
    release(&environment()?)
}

fn environment() -> Result<PathBuf> {
    let venv = crate::root()?.join(".venv");
    prepare(&venv)?;
    Ok(venv)
}

/// A virtual environment with what building and testing needs.
fn prepare(venv: &Path) -> Result<()> {
    if !venv.join("bin/pip").exists() {
        let mut make = spawn::program("python3");
        spawn::run(
            "python3 -m venv (Debian has it in python3-venv)",
            make.args(["-m", "venv"]).arg(venv),
        )?;
    }
    // pip looks at the network only for what is not there yet.
    let mut pip = spawn::program(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        REQUIREMENTS,
    ]);
    spawn::run("pip", &mut pip)
}

fn maturin(venv: &Path) -> Result<std::process::Command> {
    let mut maturin = spawn::program(venv.join("bin/maturin"));
    maturin.env("VIRTUAL_ENV", venv);
    // One target folder for everything.
    maturin.env("CARGO_TARGET_DIR", spawn::target_folder()?);
    Ok(maturin)
}

/// The dev profile, installed into the environment.
fn develop(venv: &Path) -> Result<()> {
    let mut command = maturin(venv)?;
    command.args(["develop", "--quiet", "--manifest-path", MANIFEST]);
    spawn::run("maturin develop", &mut command)
}

fn release(venv: &Path) -> Result<PathBuf> {
    let folder = spawn::target_folder()?.join("wheels");
    let mut command = maturin(venv)?;
    command
        .args(["build", "--release", "--locked", "--manifest-path", MANIFEST])
        .args(["--config", "profile.release.lto=\"fat\""])
        .args(["--config", "profile.release.codegen-units=1", "--out"])
        .arg(&folder);
    spawn::run("maturin build", &mut command)?;
    let wheel = newest(&folder)?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy();
    ensure!(name.contains("-cp311-abi3-"), "{name} is not a wheel for every Python from 3.11 on");
    Ok(wheel)
}

fn newest(folder: &Path) -> Result<PathBuf> {
    let files =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let wheels = files.filter_map(|file| {
        let path = file.ok()?.path();
        let written = path.metadata().ok()?.modified().ok()?;
        (path.extension()? == "whl").then_some((written, path))
    });
    let (_, path) = wheels.max().context("maturin left no wheel behind")?;
    Ok(path)
}
