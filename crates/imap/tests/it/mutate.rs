//! Commands with random damage: the parser never panics, and a session answers or hangs up, but never hangs.

use crate::harness::Server;
use crate::transcripts::folder;
use types::Limits;

/// Every line a client says in a transcript.
fn commands() -> Vec<Vec<u8>> {
    let mut commands = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let said = text.lines().filter_map(|line| line.strip_prefix("C: "));
        commands.extend(said.map(|line| line.as_bytes().to_vec()));
    }
    assert!(commands.len() > 200, "{}", commands.len());
    commands
}

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most.max(1) as u64).unwrap()
    }

    fn damage(&mut self, command: &mut Vec<u8>) {
        const PIECES: [&[u8]; 16] = [
            b"(",
            b")",
            b"\"",
            b"\\",
            b"{3}\r\n",
            b"{3+}\r\nabc",
            b"*",
            b"%",
            b"&",
            b"\0",
            b"\xff",
            b" ",
            b"]",
            b"[",
            b"4294967296",
            b"\r",
        ];
        for _ in 0..=self.below(3) {
            let at = self.below(command.len() + 1);
            match self.below(4) {
                0 if at < command.len() => drop(command.remove(at)),
                1 if at < command.len() => command[at] = u8::try_from(self.below(256)).unwrap(),
                2 => command.truncate(at),
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    command.splice(at..at, piece.iter().copied());
                }
            }
        }
    }
}

#[test]
fn the_parser_never_panics() {
    let commands = commands();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut good = 0;
    for round in 0..200_000 {
        let mut command = commands[round % commands.len()].clone();
        random.damage(&mut command);
        good += usize::from(imap::parse_command(&command).is_ok());
    }
    assert!(good > 10_000, "{good}");
}

#[tokio::test]
async fn a_session_always_answers() {
    let mut commands = commands();
    // A damaged number of megabytes may be one that is welcome, and they never come.
    commands.retain(|command| !command.windows(8).any(|digits| digits == b"52428801"));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    // Damage makes long literals, and what follows must fill them.
    let limits = Limits { message_bytes: 3_000, command_bytes: 3_000, ..Limits::default() };
    let server = Server::with(limits).await;
    server.deliver_letters().await;
    for round in 0..60 {
        let mut client = server.select().await;
        for _ in 0..20 {
            let mut command = commands[random.below(commands.len())].clone();
            random.damage(&mut command);
            client.send(&command).await;
            client.send(b"\r\n").await;
        }
        // Out of IDLE, out of AUTHENTICATE, out of a literal; then it must answer or be gone.
        client.send(b"\r\nDONE\r\n*\r\n").await;
        let filler = [b'x'; 2_000];
        for _ in 0..4 {
            client.send(&filler).await;
            client.send(b"\r\n").await;
        }
        client.send(b"last NOOP\r\n").await;
        let mut line = String::new();
        while line != "last OK Nothing else" && line != "(closed)" {
            line = client.line().await;
            if line.starts_with("+ ") {
                client.send(b"\r\nDONE\r\n").await;
                client.send(&filler).await;
                client.send(&filler).await;
                client.send(b"\r\nlast NOOP\r\n").await;
            }
        }
        assert!(!line.is_empty(), "round {round}");
    }
}
