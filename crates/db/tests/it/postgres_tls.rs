//! TLS towards PostgreSQL: who is taken, who is refused and in which words.

use crate::postgres::Database;
use std::path::Path;
use std::process::Command;
use types::ErrorClass;

/// Runs in a cluster of its own: it is given one certificate after the other.
#[test]
fn certificates_are_looked_at_as_the_address_asks() {
    let database = Database::alone();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["ours", "theirs"] {
        authority(folder.path(), name);
    }
    signed(folder.path(), "right", "DNS:localhost,IP:127.0.0.1");
    signed(folder.path(), "other", "DNS:db.example.test");
    self_signed(folder.path());

    let by_name = database.url.replace("127.0.0.1", "localhost");
    let url = |base: &str, mode: &str, roots: &str| match roots {
        "" => format!("{base}?sslmode={mode}"),
        "system" => format!("{base}?sslmode={mode}&sslrootcert=system"),
        roots => format!("{base}?sslmode={mode}&sslrootcert={}", file(roots).replace('/', "%2F")),
    };
    let check = |url: &str, refused: &[&str]| match db::open(url).map(|index| index.begin().is_ok())
    {
        Ok(works) => assert!(works && refused.is_empty(), "accepted: {url}"),
        Err(error) => {
            let text = error.to_string();
            assert!(!refused.is_empty(), "{url}: {text}");
            assert_eq!(error.class(), ErrorClass::Permanent, "{url}: {text}");
            for word in refused {
                assert!(text.contains(word), "{url}: {word:?} not in {text:?}");
            }
        }
    };
    let (ip, name) = (database.url.as_str(), by_name.as_str());
    check(&url(ip, "require", ""), &["takes no TLS", "ssl = on"]);
    check(&url(ip, "verify-full", "ours.crt"), &["takes no TLS"]);
    check(&url(ip, "prefer", ""), &[]);
    check(&url(ip, "verify-ca", "missing.crt"), &["sslrootcert", "missing.crt"]);
    check(&url(ip, "verify-ca", "ours.key"), &["no certificate in it"]);

    database.cluster(&["tls", &file("right.crt"), &file("right.key")]);
    answers_encrypted(&url(ip, "require", ""), true);
    answers_encrypted(&url(ip, "verify-full", "ours.crt"), true);
    answers_encrypted(&url(ip, "disable", ""), false);
    check(&url(name, "verify-full", "ours.crt"), &[]);
    check(&url(ip, "verify-ca", "ours.crt"), &[]);
    let unknown = ["signed by nobody", "sslrootcert="];
    check(&url(ip, "verify-ca", "theirs.crt"), &unknown);
    check(&url(ip, "verify-full", "theirs.crt"), &unknown);
    check(&url(ip, "require", "theirs.crt"), &unknown);
    check(&url(ip, "verify-full", "system"), &unknown);
    check(&url(ip, "require", "system"), &["verify-full"]);

    database.cluster(&["tls", &file("other.crt"), &file("other.key")]);
    let wrong = ["not made for the host", "db.example.test", "verify-ca"];
    wait_for(&url(name, "verify-full", "ours.crt"), "db.example.test");
    check(&url(name, "verify-full", "ours.crt"), &wrong);
    check(&url(ip, "verify-full", "ours.crt"), &wrong);
    check(&url(ip, "verify-ca", "ours.crt"), &[]);
    let reached = name.replace("localhost", "db.example.test");
    let reached = format!("{}&hostaddr=127.0.0.1", url(&reached, "verify-full", "ours.crt"));
    check(&reached, &[]);

    database.cluster(&["tls", &file("self.crt"), &file("self.key")]);
    wait_for(&url(ip, "verify-ca", "ours.crt"), "signed by nobody");
    check(&url(ip, "require", ""), &[]);
    check(&url(name, "verify-full", "self.crt"), &[]);
    check(&url(ip, "verify-full", "self.crt"), &["not made for the host"]);
}

/// A new certificate is taken a moment after it was asked for.
fn wait_for(url: &str, word: &str) {
    for _ in 0..100 {
        if db::open(url).is_err_and(|error| error.to_string().contains(word)) {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

/// What the database itself says of the connection that the engine made.
fn answers_encrypted(url: &str, expect: bool) {
    let opened = (0..100).find_map(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
        db::open(url).ok()
    });
    let opened = opened.unwrap_or_else(|| db::open(url).unwrap());
    let clear = format!("{}?sslmode=disable", url.split_once('?').unwrap().0);
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'openpoczta' AND datname = current_database()";
    let psql = ["--tuples-only", "--no-align", "--no-psqlrc", &clear, "--command", sql];
    let said = Command::new("psql").args(psql).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    drop(opened);
    assert_eq!(said, if expect { "t" } else { "f" }, "{url}");
}

fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!("req -x509 {KEY} -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name}"),
    );
}

fn signed(folder: &Path, name: &str, hosts: &str) {
    openssl(folder, &format!("req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    let more = format!("subjectAltName={hosts}\nbasicConstraints=CA:FALSE\n");
    std::fs::write(folder.join("more"), more).unwrap();
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA ours.crt -CAkey ours.key -CAcreateserial -out {name}.crt -days 2 \
             -extfile more"
        ),
    );
}

/// As PostgreSQL's own manual makes it: its own authority.
fn self_signed(folder: &Path) {
    openssl(
        folder,
        &format!(
            "req -x509 {KEY} -keyout self.key -out self.crt -days 2 -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost"
        ),
    );
}
