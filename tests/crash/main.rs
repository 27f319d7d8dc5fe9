//! The service as a process, and what a machine can do to it: killed, out of disk, told of failing writes, stopped
//! under load, its clock set. Everything is judged from outside: a journal holds what the service acknowledged, and
//! the checker compares it with what can be read afterwards.
//!
//! `ASYNCQUEUE_TEST_LARGE=1` runs the large forms, `ASYNCQUEUE_TEST_SEED` repeats a run's random choices. Some tests
//! mount file systems and need root, `strace` and `libfaketime`; what is missing fails them, it does not skip them.

mod check;
mod harness;
#[path = "../support/hostile_targets.rs"]
mod hostile_targets;
mod ledger;
#[path = "../support/postgres.rs"]
mod postgres;

mod large_pages;
mod nodes;
mod operation_backup;
mod operation_commands;
mod operation_config;
mod operation_start;
mod t01_kill;
mod t05_failing_writes;
mod t06_full_disk;
mod t08_refusals;
mod t11_cut_connections;
mod t25_hostile_targets;
mod t29_slow_clients;
mod t30_proxies;
mod t36_canaries;
mod t44_drain;
mod t45_clock_jumps;
mod t46_descriptors;
mod t47_memory;
mod t48_upgrade;
