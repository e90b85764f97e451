//! The fuzzer's seeds, replayed without a fuzzer.

use crate::corpus::folder;
use crate::shown::assert_sound;

#[test]
fn seeds_of_the_fuzzer() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder("fuzz/seeds/mparser")).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        assert_sound(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 10, "only {count} seeds");
}
