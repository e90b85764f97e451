//! Threads (RFC 5256 §4): messages to trees, by who answers whom or by subject. Time and memory grow with the
//! messages and the references they carry; nothing here recurses, so a chain of a million answers is one line.
//!
//! The links of RFC 5256 §4 step 1 are made in two rounds: first each message under the last one it refers to, which
//! is what it says of itself; then what others say of the messages between. So a link that is made stays, and
//! whether one would close a loop is answered by the root of its tree.

use crate::encode;
use crate::noted::Keys;
use mparser::Index;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use storage::Message;

/// References of a message that count: the first, and the last ones. Those between matter only where so many
/// messages in a row are missing.
const REFERENCES: usize = 32;

/// How threads are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// By subject alone; one level of answers.
    OrderedSubject,
    /// By references, then by subject, sorted by the date of the first message.
    References,
    /// By references alone, sorted by the date of the newest message.
    Refs,
}

/// Name, algorithm, where it is specified. Sorted by name.
pub(crate) static ALGORITHMS: &[(&str, Algorithm, &str)] = &[
    ("ORDEREDSUBJECT", Algorithm::OrderedSubject, "RFC 5256 §4"),
    ("REFERENCES", Algorithm::References, "RFC 5256 §4"),
    ("REFS", Algorithm::Refs, "draft-ietf-morg-inthread"),
];

/// A Message-ID as two keyed hashes: 16 bytes, whatever a stranger writes.
type Id = (u64, u64);

/// What is known of one message.
struct Facts {
    number: u32,
    sent_unix_s: i64,
    id: Option<Id>,
    /// Behind the last of them in [`Threads::references`].
    references_end: usize,
    subject: Arc<[u8]>,
    is_answer: bool,
}

/// Messages to be threaded.
pub(crate) struct Threads {
    algorithm: Algorithm,
    messages: Vec<Facts>,
    /// Of all messages, oldest first for each.
    references: Vec<Id>,
    hashers: (RandomState, RandomState),
}

impl Threads {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let hashers = (RandomState::new(), RandomState::new());
        Self { algorithm, messages: Vec::new(), references: Vec::new(), hashers }
    }

    /// In ascending order of `number`, which decides between messages of one second.
    pub(crate) fn take(&mut self, number: u32, message: &Message, index: &Index, keys: Keys) {
        let mut id = None;
        if self.algorithm != Algorithm::OrderedSubject {
            id = index.message_id().map(|id| self.id(&id));
            self.take_references(index);
        }
        self.messages.push(Facts {
            number,
            sent_unix_s: keys.sent_unix_s.unwrap_or(message.received_unix_s),
            id,
            references_end: self.references.len(),
            subject: keys.subject,
            is_answer: keys.is_answer,
        });
    }

    /// RFC 5256 §4 step 1: In-Reply-To counts where there are no References, and of it the first.
    fn take_references(&mut self, index: &Index) {
        let references = &index.envelope.references;
        if references.is_empty() {
            let first = index.in_reply_to().into_iter().next();
            let first = first.map(|id| self.id(&id));
            self.references.extend(first);
            return;
        }
        let skipped = 1..references.len().saturating_sub(REFERENCES - 1).max(1);
        for (at, reference) in references.iter().enumerate() {
            if !skipped.contains(&at) {
                let id = self.id(reference);
                self.references.push(id);
            }
        }
    }

    fn id(&self, text: &str) -> Id {
        (self.hashers.0.hash_one(text), self.hashers.1.hash_one(text))
    }

    /// ```text
    /// thread-data    = "THREAD" [SP 1*thread-list]
    /// thread-list    = "(" (thread-members / thread-nested) ")"
    /// thread-members = nz-number *(SP nz-number) [SP thread-nested]
    /// thread-nested  = 2*thread-list
    /// ```
    pub(crate) fn response(&self) -> Vec<u8> {
        let mut out = b"* THREAD".to_vec();
        let forest = match self.algorithm {
            Algorithm::OrderedSubject => self.by_subject(),
            Algorithm::References => self.by_references(true),
            Algorithm::Refs => self.by_references(false),
        };
        if !forest.tops.is_empty() {
            out.push(b' ');
        }
        forest.write(&mut out, |node| self.messages.get(node).map(|facts| facts.number));
        out.extend_from_slice(b"\r\n");
        out
    }

    fn by_subject(&self) -> Forest {
        let mut order: Vec<usize> = (0..self.messages.len()).collect();
        let subject = |node: &usize| self.messages.get(*node).map(|m| &*m.subject);
        order.sort_by(|a, b| {
            subject(a).cmp(&subject(b)).then_with(|| self.sent(*a).cmp(&self.sent(*b)))
        });
        let mut forest = Forest::of(self.messages.len());
        for group in order.chunk_by(|a, b| subject(a) == subject(b)) {
            let Some((first, rest)) = group.split_first() else { continue };
            forest.tops.push(*first);
            for node in rest {
                forest.put(*first, *node);
            }
        }
        forest.tops.sort_by_key(|top| self.sent(*top));
        forest
    }

    fn by_references(&self, with_subjects: bool) -> Forest {
        let mut links = self.links();
        let (mut forest, newest) = self.pruned(&mut links);
        self.sort(&mut forest);
        if with_subjects {
            self.gather(&mut forest);
            self.sort(&mut forest);
        } else {
            forest.tops.sort_by_key(|top| (newest.get(top).copied(), *top));
        }
        forest
    }

    /// By date, and the place in the mailbox where that is the same.
    fn sent(&self, node: usize) -> (i64, usize) {
        (self.messages.get(node).map_or(0, |m| m.sent_unix_s), node)
    }

    /// Step 1: who stands under whom. Nodes from `messages.len()` on are messages that are only referred to.
    fn links(&self) -> Links {
        let mut links = Links::of(self.messages.len());
        for (node, message) in self.messages.iter().enumerate() {
            // Of two with the same id the first has it.
            if let Some(id) = message.id {
                links.by_id.entry(id).or_insert(node);
            }
        }
        let mut from = 0;
        for (node, message) in self.messages.iter().enumerate() {
            let to = message.references_end;
            if let Some(last) = self.references.get(from..to).and_then(<[Id]>::last) {
                let parent = links.node(*last);
                links.put(parent, node);
            }
            from = to;
        }
        from = 0;
        for (node, message) in self.messages.iter().enumerate() {
            let references = self.references.get(from..message.references_end).unwrap_or_default();
            from = message.references_end;
            for pair in references.windows(2) {
                if let [above, below] = pair {
                    let (above, below) = (links.node(*above), links.node(*below));
                    if self.may_be_told(below, node) {
                        links.put(above, below);
                    }
                }
            }
        }
        links
    }

    /// Whether `teller` may say what stands above `node`: of a message that is not there, or of one before it that
    /// names nothing itself (step 1 B: a message without references has no parent when it is looked at).
    fn may_be_told(&self, node: usize, teller: usize) -> bool {
        let references_end = |node: usize| self.messages.get(node).map(|m| m.references_end);
        match references_end(node) {
            None => true,
            Some(end) => {
                let before = node.checked_sub(1).and_then(references_end).unwrap_or(0);
                before == end && node < teller
            }
        }
    }

    /// Steps 2 and 3: messages that are not there are left out, but at the top of several. Also the newest date in
    /// each tree, by its top.
    fn pruned(&self, links: &mut Links) -> (Forest, HashMap<usize, i64>) {
        let count = self.messages.len();
        let below = links.below();
        let mut forest = Forest::of(below.len());
        let mut newest = HashMap::new();
        let mut open: Vec<(usize, Option<usize>)> = Vec::new();
        for root in (0..below.len()).filter(|node| links.is_root(*node)) {
            let (mut tops, mut latest) = (Vec::new(), i64::MIN);
            open.push((root, None));
            while let Some((node, above)) = open.pop() {
                let mut anchor = above;
                if let Some(message) = self.messages.get(node) {
                    latest = latest.max(message.sent_unix_s);
                    match above {
                        Some(above) => forest.put(above, node),
                        None => tops.push(node),
                    }
                    anchor = Some(node);
                }
                let children = below.get(node).map(Vec::as_slice).unwrap_or_default();
                open.extend(children.iter().map(|child| (*child, anchor)));
            }
            let top = match tops.as_slice() {
                [] => continue,
                [only] => *only,
                _ => {
                    // Several without one above them: the root itself is no message.
                    debug_assert!(root >= count, "a message stands above all of its tree");
                    for node in &tops {
                        forest.put(root, *node);
                    }
                    root
                }
            };
            forest.tops.push(top);
            newest.insert(top, latest);
        }
        (forest, newest)
    }

    /// Steps 4 and 6: siblings by date; one that is no message, by its first child.
    fn sort(&self, forest: &mut Forest) {
        for children in &mut forest.children {
            children.sort_by_key(|node| self.sent(*node));
        }
        let mut tops = std::mem::take(&mut forest.tops);
        tops.sort_by_key(|top| self.sent(self.first_message(forest, *top)));
        forest.tops = tops;
    }

    fn first_message(&self, forest: &Forest, top: usize) -> usize {
        if self.is_message(top) {
            return top;
        }
        forest.children.get(top).and_then(|children| children.first()).copied().unwrap_or(top)
    }

    fn is_message(&self, node: usize) -> bool {
        node < self.messages.len()
    }

    /// Step 5: threads of one base subject become one.
    fn gather(&self, forest: &mut Forest) {
        let tops = std::mem::take(&mut forest.tops);
        let facts = |forest: &Forest, top| self.messages.get(self.first_message(forest, top));
        let is_answer = |node: usize| self.messages.get(node).is_some_and(|m| m.is_answer);
        let mut table: HashMap<&[u8], usize> = HashMap::new();
        let mut subjects = Vec::with_capacity(tops.len());
        for top in &tops {
            let subject = facts(forest, *top).map_or(&[][..], |m| &m.subject);
            subjects.push(subject);
            if subject.is_empty() {
                continue;
            }
            let kept = table.entry(subject).or_insert(*top);
            let better = !self.is_message(*top) || (is_answer(*kept) && !is_answer(*top));
            if self.is_message(*kept) && better {
                *kept = *top;
            }
        }
        // The node that a top was put under, if it was.
        let mut joined = vec![false; forest.children.len()];
        for (top, subject) in tops.iter().zip(&subjects) {
            let Some(kept) = table.get_mut(subject).filter(|kept| *kept != top) else { continue };
            if !self.is_message(*kept) && !self.is_message(*top) {
                let children = forest.children.get_mut(*top).map(std::mem::take);
                children.unwrap_or_default().iter().for_each(|node| forest.put(*kept, *node));
            } else if !self.is_message(*kept) || (is_answer(*top) && !is_answer(*kept)) {
                forest.put(*kept, *top);
            } else {
                let both = forest.children.len();
                forest.children.push(vec![*kept, *top]);
                joined.push(false);
                forest.tops.push(both);
                mark(&mut joined, *kept);
                *kept = both;
            }
            mark(&mut joined, *top);
        }
        let is_left = |top: &usize| joined.get(*top) == Some(&false);
        forest.tops.extend(tops.iter().filter(|top| is_left(top)));
    }
}

fn mark(marks: &mut [bool], at: usize) {
    if let Some(mark) = marks.get_mut(at) {
        *mark = true;
    }
}

/// Nodes and who is above them.
struct Links {
    by_id: HashMap<Id, usize>,
    parents: Vec<Option<usize>>,
    /// A node further up in the same tree, or itself at the root; shortened on the way.
    up: Vec<usize>,
}

impl Links {
    fn of(count: usize) -> Self {
        Self { by_id: HashMap::new(), parents: vec![None; count], up: (0..count).collect() }
    }

    /// The node of an id; one is made for a message that is not there.
    fn node(&mut self, id: Id) -> usize {
        let (parents, up) = (&mut self.parents, &mut self.up);
        *self.by_id.entry(id).or_insert_with(|| {
            parents.push(None);
            up.push(up.len());
            parents.len() - 1
        })
    }

    /// Puts one under another, unless it stands somewhere already or would stand above itself.
    fn put(&mut self, parent: usize, child: usize) {
        let root = self.root(parent);
        if root == child || !self.is_root(child) {
            return;
        }
        if let (Some(above), Some(up)) = (self.parents.get_mut(child), self.up.get_mut(child)) {
            *above = Some(parent);
            *up = root;
        }
    }

    fn is_root(&self, node: usize) -> bool {
        self.parents.get(node) == Some(&None)
    }

    fn root(&mut self, mut node: usize) -> usize {
        while let Some(above) = self.up.get(node).copied().filter(|above| *above != node) {
            let further = self.up.get(above).copied().unwrap_or(above);
            if let Some(up) = self.up.get_mut(node) {
                *up = further;
            }
            node = further;
        }
        node
    }

    fn below(&self) -> Vec<Vec<usize>> {
        let mut below = vec![Vec::new(); self.parents.len()];
        for (node, parent) in self.parents.iter().enumerate() {
            if let Some(children) = parent.and_then(|parent| below.get_mut(parent)) {
                children.push(node);
            }
        }
        below
    }
}

/// Threads: the nodes at the top, and what is under each.
struct Forest {
    tops: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl Forest {
    fn of(nodes: usize) -> Self {
        Self { tops: Vec::new(), children: vec![Vec::new(); nodes] }
    }

    fn put(&mut self, above: usize, node: usize) {
        if let Some(children) = self.children.get_mut(above) {
            children.push(node);
        }
    }

    fn write(&self, out: &mut Vec<u8>, number: impl Fn(usize) -> Option<u32>) {
        enum Piece {
            Thread(usize),
            End,
        }
        let mut open: Vec<Piece> = self.tops.iter().rev().map(|top| Piece::Thread(*top)).collect();
        while let Some(piece) = open.pop() {
            let Piece::Thread(mut node) = piece else {
                out.push(b')');
                continue;
            };
            out.push(b'(');
            open.push(Piece::End);
            loop {
                let is_message = number(node).map(|n| encode::number(out, n.into())).is_some();
                let children = self.children.get(node).map(Vec::as_slice).unwrap_or_default();
                if is_message && !children.is_empty() {
                    out.push(b' ');
                }
                match children {
                    [only] => node = *only,
                    several => {
                        open.extend(several.iter().rev().map(|child| Piece::Thread(*child)));
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{EmailId, Flags, ModSeq, Uid};

    fn threads(algorithm: Algorithm, heads: &[String]) -> String {
        let mut threads = Threads::new(algorithm);
        for (number, head) in (1..).zip(heads) {
            let row = Message {
                uid: Uid::new(number).unwrap(),
                email: EmailId(number.into()),
                modseq: ModSeq(1),
                flags: Flags::default(),
                received_unix_s: i64::from(number) * 100,
                saved_unix_s: 0,
                size_bytes: 0,
            };
            let index = Index::of(format!("{head}\r\n\r\n").as_bytes());
            threads.take(number, &row, &index, Keys::of(&index));
        }
        let said = String::from_utf8(threads.response()).unwrap();
        said.strip_prefix("* THREAD").unwrap().trim().to_owned()
    }

    /// Letters as `id<reference,reference subject`.
    fn check(algorithm: Algorithm, letters: &[&str], expect: &str) {
        let heads: Vec<String> = letters
            .iter()
            .map(|letter| {
                let (ids, subject) = letter.split_once(' ').unwrap_or((letter, ""));
                let (id, references) = ids.split_once('<').unwrap_or((ids, ""));
                let references: Vec<_> = references
                    .split(',')
                    .filter(|r| !r.is_empty())
                    .map(|r| format!("<{r}@x>"))
                    .collect();
                let mut head = vec![format!("Subject: {subject}")];
                if !id.is_empty() {
                    head.push(format!("Message-ID: <{id}@x>"));
                }
                if !references.is_empty() {
                    head.push(format!("References: {}", references.join(" ")));
                }
                head.join("\r\n")
            })
            .collect();
        assert_eq!(threads(algorithm, &heads), expect, "{letters:?}");
    }

    #[test]
    fn by_references() {
        use Algorithm::{References, Refs};
        check(References, &[], "");
        check(References, &["a"], "(1)");
        check(References, &["a", "b<a", "c<a,b"], "(1 2 3)");
        check(References, &["a", "b<a", "c<a", "d<a,b"], "(1 (2 4)(3))");
        // The first letter is missing.
        check(References, &["b<a", "c<a"], "((1)(2))");
        check(References, &["b<a"], "(1)");
        check(References, &["c<a,b", "d<a,b"], "((1)(2))");
        check(References, &["d<a,b,c", "e<a,b"], "((1)(2))");
        check(References, &["z", "d<z,a,b", "e<z,a"], "(1 (2)(3))");
        // No id, the same id, one's own id, loops.
        check(References, &["", ""], "(1)(2)");
        check(References, &["a", "a", "b<a"], "(1 3)(2)");
        check(References, &["a<a"], "(1)");
        check(References, &["a<b", "b<a"], "(2 1)");
        check(References, &["a<b", "b<c", "c<a"], "(3 2 1)");
        check(References, &["x<a,b,a,b"], "(1)");
        // The last reference is the parent, whatever others said.
        check(References, &["b<a", "c<x,b", "a"], "(3 1 2)");
        check(References, &["b", "c<a,b", "a"], "(3 1 2)");
        check(References, &["c<a,b", "b", "a"], "(2 1)(3)");
        check(Refs, &["a same", "b same", "c<a Re: same"], "(2)(1 3)");
    }

    #[test]
    fn one_subject() {
        use Algorithm::References;
        check(References, &["a lunch", "b Re: lunch", "c other"], "(1 2)(3)");
        check(References, &["b Re: lunch", "a lunch"], "(2 1)");
        check(References, &["a lunch", "b LUNCH"], "((1)(2))");
        check(References, &["b Re: lunch", "c Re: lunch"], "((1)(2))");
        check(References, &["a lunch", "b lunch", "c lunch"], "((1)(2)(3))");
        check(References, &["b<x lunch", "c<x lunch", "d<y Lunch", "e<y lunch"], "((1)(2)(3)(4))");
        check(References, &["a lunch", "b<x Re: lunch", "c<x Re: lunch"], "((1)(2)(3))");
        check(References, &["a Re:", "b Re:"], "(1)(2)");
        check(References, &["a lunch", "b<x Re: lunch", "c<b two"], "(1 2 3)");
    }

    #[test]
    fn by_subject() {
        use Algorithm::OrderedSubject;
        check(OrderedSubject, &["a b", "c a", "d Re: b", "e<a B", "f c"], "(1 (3)(4))(2)(5)");
        check(OrderedSubject, &["a b", "b Re: b"], "(1 2)");
        check(OrderedSubject, &["a", "b"], "(1 2)");
        check(OrderedSubject, &[], "");
    }

    #[test]
    fn dates_decide() {
        let head = |id: &str, day: u32, references: &str| {
            format!(
                "Subject: {id}\r\nMessage-ID: <{id}@x>\r\nDate: {day} Nov 2026 10:00:00 +0000\r\n\
                 References: {references}"
            )
        };
        let heads =
            [head("a", 3, ""), head("b", 5, "<a@x>"), head("c", 4, "<a@x>"), head("d", 4, "")];
        assert_eq!(threads(Algorithm::References, &heads), "(1 (3)(2))(4)");
        assert_eq!(threads(Algorithm::Refs, &heads), "(4)(1 (3)(2))");
        assert_eq!(threads(Algorithm::OrderedSubject, &heads), "(1)(3)(4)(2)");
    }

    /// Chains, fans and loops of many messages take little time and no stack.
    #[test]
    fn many() {
        const MANY: usize = 20_000;
        let begin = std::time::Instant::now();
        let letter = |id: usize, references: &str| {
            format!("Subject: {}\r\nMessage-ID: <{id}@x>\r\nReferences: {references}", id % 7)
        };
        let last = MANY - 1;
        let shapes: [&dyn Fn(usize) -> String; 6] = [
            &|n| letter(n, &if n == 0 { String::new() } else { format!("<{}@x>", n - 1) }),
            &|n| letter(n, &format!("<{}@x>", (n + 1) % MANY)),
            &|n| letter(n, "<root@x>"),
            &|n| letter(n, &format!("<{}@x> <{}@x> <{n}x@x>", last - n, n / 2)),
            &|n| letter(n, &format!("<{0}x@x> <{0}y@x> <{0}z@x>", n / 3)),
            &|n| letter(n * 7, ""),
        ];
        for shape in shapes {
            let heads: Vec<String> = (0..MANY).map(shape).collect();
            for algorithm in [Algorithm::References, Algorithm::Refs, Algorithm::OrderedSubject] {
                let said = threads(algorithm, &heads);
                let opened = said.matches('(').count();
                assert_eq!(opened, said.matches(')').count());
                let mut numbers: Vec<u32> = said
                    .split(|c: char| !c.is_ascii_digit())
                    .filter_map(|n| n.parse().ok())
                    .collect();
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(1..=u32::try_from(MANY).unwrap()), "{algorithm:?}");
            }
        }
        assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    }
}
