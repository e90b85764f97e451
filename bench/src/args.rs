//! The words after `opbench`.

use anyhow::{Context as _, Result, bail, ensure};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) bench: String,
    /// The release binary to measure.
    pub(crate) server: PathBuf,
    /// A folder on the disk to measure; a temporary one is made in it.
    pub(crate) folder: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) seconds: Duration,
    pub(crate) connections: Vec<usize>,
    /// Files of letters to be packed.
    pub(crate) letters: Vec<PathBuf>,
    /// Whether rows are added to bench/baseline.tsv.
    pub(crate) save: bool,
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let bench = words.next().unwrap_or_default();
        let most = if matches!(&*bench, "storage" | "deliveries") { 64 } else { 32 };
        let mut args = Self {
            bench,
            server: "target/release/openpoczta".into(),
            folder: "target".into(),
            rounds: 5,
            seconds: Duration::from_secs(3),
            connections: vec![1, 8, most],
            letters: Vec::new(),
            save: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--server" => args.server = value()?.into(),
                "--folder" => args.folder = value()?.into(),
                "--rounds" => args.rounds = number(&word, &value()?)?,
                "--seconds" => args.seconds = Duration::from_secs(number(&word, &value()?)? as u64),
                "--connections" => {
                    args.connections =
                        value()?.split(',').map(|n| number(&word, n)).collect::<Result<_>>()?;
                }
                "--letters" => args.letters = value()?.split(',').map(PathBuf::from).collect(),
                "--save" => args.save = true,
                _ => bail!(
                    "unknown word {word}; there is --rounds N, --seconds N, --connections 1,8,32, \
                     --server FILE, --folder DIR, --letters FILE,FILE, --save"
                ),
            }
        }
        // A median of fewer says nothing about its spread.
        ensure!(args.rounds >= 3, "--rounds must be 3 or more");
        Ok(args)
    }
}

fn number(word: &str, text: &str) -> Result<usize> {
    let number = text.parse().with_context(|| format!("{word}: `{text}` is not a number"))?;
    ensure!((1..=1000).contains(&number), "{word}: {number} is not between 1 and 1000");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Args> {
        Args::parse(text.split_whitespace().map(String::from))
    }

    #[test]
    fn words() {
        let args = parse("lmtp --rounds 7 --seconds 2 --connections 1,64 --save").unwrap();
        assert_eq!((args.bench.as_str(), args.rounds, args.save), ("lmtp", 7, true));
        assert_eq!((args.seconds, args.connections), (Duration::from_secs(2), vec![1, 64]));
        assert_eq!(parse("lmtp").unwrap().connections, [1, 8, 32]);
        assert_eq!(parse("storage").unwrap().connections, [1, 8, 64]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, expect: &str| {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(expect), "{error}");
        };
        check("lmtp --rounds", "--rounds needs a value");
        check("lmtp --rounds x", "`x` is not a number");
        check("lmtp --rounds 2", "3 or more");
        check("lmtp --seconds 0", "not between");
        check("lmtp --fast", "unknown word --fast");
    }
}
