//! The store's contract, held by every backend.

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/shared.rs"]
mod shared;

use std::sync::Arc;

use asyncqueue::store::NoObserver;
use asyncqueue::store::memory::Memory;
use asyncqueue::store_contract;
use scratch::Scratch;
use shared::Shared;

store_contract!(memory, async { Box::new(Memory::new(Arc::new(NoObserver))) });
store_contract!(sqlite, async { Scratch::new() });
store_contract!(postgresql, Shared::new());

#[test]
fn every_promise_is_in_the_list() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/contract");
    let list = std::fs::read_to_string(format!("{folder}/mod.rs")).unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
            let promise = line.split('(').next().unwrap();
            assert!(list.contains(&format!(" {promise},\n")), "{promise} is promised and never tested");
        }
    }
}
