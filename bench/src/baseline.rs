//! `bench/baseline.tsv`: every figure we claim stands there, with its date, machine and spread.

use crate::cpu;
use crate::figures::Spread;
use anyhow::{Context as _, Result};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use types::{Clock, Date, SystemClock};

/// One figure, and what it was measured beside.
pub(crate) struct Row {
    pub(crate) figure: String,
    pub(crate) value: Spread,
    pub(crate) unit: &'static str,
    pub(crate) ratio: Spread,
    pub(crate) against: &'static str,
}

const HEAD: &str = "date\tmachine\tfigure\tratio\tratio_min\tratio_max\tagainst\tvalue\tunit\n";

/// Adds the rows to the end of the file.
pub(crate) fn save(rows: &[Row]) -> Result<PathBuf> {
    let path = PathBuf::from("bench/baseline.tsv");
    let is_new = !path.exists();
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = file.with_context(|| {
        format!("cannot write {}; start this in the folder of the checkout", path.display())
    })?;
    let mut text = if is_new { HEAD.to_owned() } else { String::new() };
    let today = Date::from_unix_s(SystemClock.now_unix_ms().div_euclid(1000));
    let machine = cpu::machine();
    for row in rows {
        text.push_str(&line(row, today, &machine));
    }
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn line(row: &Row, date: Date, machine: &str) -> String {
    let Row { figure, value, unit, ratio: Spread { median, min, max }, against } = row;
    let date: String = date.rfc3339().chars().take(10).collect();
    let value = value.median;
    format!(
        "{date}\t{machine}\t{figure}\t{median:.3}\t{min:.3}\t{max:.3}\t{against}\t{value:.3}\t{unit}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_columns_of_the_head() {
        let row = Row {
            figure: "lmtp".into(),
            value: Spread { median: 1234.5, min: 1.0, max: 2000.0 },
            unit: "1/s",
            ratio: Spread { median: 0.5, min: 0.4, max: 0.6 },
            against: "raw",
        };
        let text = line(&row, Date::from_unix_s(0), "2 cores, Fast CPU");
        let expect =
            "1970-01-01\t2 cores, Fast CPU\tlmtp\t0.500\t0.400\t0.600\traw\t1234.500\t1/s\n";
        assert_eq!(text, expect);
        assert_eq!(text.split('\t').count(), HEAD.split('\t').count());
    }
}
