//! Many nodes on one PostgreSQL: killed, frozen, cut off; and the server killed, stopped, replaced.

mod balancer;
mod cluster;

mod commands;
mod cut_off;
mod failover;
mod freeze;
mod kill;
mod long_transaction;
mod pooler;
mod races;
mod restart;
mod together;
