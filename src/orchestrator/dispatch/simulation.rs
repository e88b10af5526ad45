//! Whole jobs in virtual time, from a seed: agents with a spool come and go and move between brokers, brokers and their
//! links die and come back, messages are lost and doubled, the dispatcher is killed at any point and rebuilt from what was
//! committed. Whatever happens, every node ends exactly once, nothing runs twice, and no more nodes run than allowed.

mod brokers;
mod ledger;
mod world;

use std::time::Duration;

use super::*;
use crate::orchestrator::store::order::Precedence;
use world::{Faults, Happening, World};

/// Seeds per run; `PODIUM_SIM_SEED` replays one.
const SEEDS: u64 = 60;

fn seeds() -> Vec<u64> {
    match std::env::var("PODIUM_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("PODIUM_SIM_SEED is a number")],
        Err(_) => (0..SEEDS).collect(),
    }
}

#[test]
fn every_node_ends_once_and_nothing_runs_twice() {
    let mut total = ledger::Tally::default();
    for seed in seeds() {
        let mut world = World::new(seed, 40, 8, Faults::ALL);
        for job in 1..=6 {
            let nodes = world.random.below(40) + 1;
            let names: Vec<String> = (0..nodes).map(|index| format!("n{index}")).collect();
            world.job(job, &names);
        }
        for (job, stop) in [(4, Stop::Gently), (5, Stop::ByForce), (6, Stop::ByForce)] {
            let at = world.random.below(60_000);
            world.plan(at, Happening::Stop(job, stop));
        }
        world.run(Duration::from_secs(6 * 3600));
        let tally = world.check();
        total.finished += tally.finished;
        total.errored += tally.errored;
        total.restarts += tally.restarts;
        total.resent += tally.resent;
        total.deaths += tally.deaths;
        total.replaced += tally.replaced;
        (total.skipped, total.stopped) = (total.skipped + tally.skipped, total.stopped + tally.stopped);
        total.refused += tally.refused;
        world.check_settled();
    }
    // The simulation is worth something only if all of this happens in it.
    if std::env::var("PODIUM_SIM_SEED").is_err() {
        assert!(total.finished > total.errored && total.errored > 100, "{total:?}");
        assert!(total.restarts > SEEDS && total.resent > 20, "{total:?}");
        assert!(total.deaths > SEEDS && total.replaced > SEEDS, "{total:?}");
        assert!(total.skipped > SEEDS && total.stopped > SEEDS / 2 && total.refused > SEEDS / 2, "{total:?}");
    }
}

fn names(nodes: u32) -> Vec<String> {
    (0..nodes).map(|index| format!("n{index}")).collect()
}

#[test]
fn nodes_run_after_those_before_them_whatever_happens() {
    let mut total = ledger::Tally::default();
    for seed in seeds() {
        let mut world = World::new(seed, 40, 8, Faults::ALL);
        for job in 1..=4 {
            let nodes = 40 - u32::try_from(world.random.below(20)).unwrap();
            let order = world.random_order(nodes);
            world.job_in_order(job, &names(nodes), &order);
        }
        for (job, stop) in [(3, Stop::Gently), (4, Stop::ByForce)] {
            let at = world.random.below(120_000);
            world.plan(at, Happening::Stop(job, stop));
        }
        world.run(Duration::from_secs(12 * 3600));
        let tally = world.check();
        (total.finished, total.errored) = (total.finished + tally.finished, total.errored + tally.errored);
        (total.blocked, total.skipped) = (total.blocked + tally.blocked, total.skipped + tally.skipped);
        total.restarts += tally.restarts;
    }
    if std::env::var("PODIUM_SIM_SEED").is_err() {
        assert!(total.finished > 10 * SEEDS && total.errored > SEEDS, "{total:?}");
        assert!(total.blocked > SEEDS && total.skipped > SEEDS && total.restarts > SEEDS, "{total:?}");
    }
}

#[test]
fn a_chain_finishes_node_by_node() {
    for seed in 0..5 {
        let mut world = World::new(seed, 30, 8, Faults { restarts: true, ..Faults::NONE });
        let order: Vec<_> = (1..30).map(|node| Precedence { node: node - 1, after: node }).collect();
        world.job_in_order(1, &names(30), &order);
        world.run(Duration::from_secs(3600));
        let tally = world.check();
        assert_eq!((tally.finished, tally.errored, tally.blocked), (30, 0, 0), "seed {seed}");
    }
}

#[test]
fn brokers_that_die_and_nodes_that_move_lose_nothing_that_runs() {
    let mut total = ledger::Tally::default();
    for seed in 0..40 {
        let mut world = World::new(seed, 40, 8, Faults { brokers: true, ..Faults::NONE });
        for job in 1..=4 {
            world.job(job, &(0..40).map(|index| format!("n{index}")).collect::<Vec<_>>());
        }
        world.run(Duration::from_secs(3600));
        let tally = world.check();
        total.finished += tally.finished;
        total.errored += tally.errored;
        total.replaced += tally.replaced;
        world.check_settled();
    }
    // Nodes that are between two brokers when their turn comes end errored; there are few of them.
    assert!(total.finished > 9 * total.errored && total.replaced > 20, "{total:?}");
}

#[test]
fn without_faults_every_node_finishes() {
    for seed in 0..20 {
        let mut world = World::new(seed, 30, 8, Faults::NONE);
        for job in 1..=4 {
            world.job(job, &(0..30).map(|index| format!("n{index}")).collect::<Vec<_>>());
        }
        world.run(Duration::from_secs(3600));
        let tally = world.check();
        assert_eq!((tally.finished, tally.errored, tally.resent), (120, 0, 0), "seed {seed}");
    }
}

#[test]
fn restarts_alone_lose_nothing() {
    for seed in 0..40 {
        let mut world = World::new(seed, 30, 8, Faults { restarts: true, ..Faults::NONE });
        world.job(1, &(0..30).map(|index| format!("n{index}")).collect::<Vec<_>>());
        world.run(Duration::from_secs(3600));
        let tally = world.check();
        assert_eq!((tally.finished, tally.errored), (30, 0), "seed {seed}");
    }
}

#[test]
fn a_job_stopped_by_force_ends_at_once_on_our_agents() {
    for seed in 0..20 {
        let mut world = World::new(seed, 60, 16, Faults { restarts: true, ..Faults::NONE });
        let names: Vec<String> = (0..30).map(|agent| format!("n{}", 2 * agent)).collect();
        world.job(1, &names);
        world.advance(Duration::from_secs(2));
        world.plan(0, Happening::Stop(1, Stop::ByForce));
        world.step();
        // A kill may take the stop with it before it is stored; whoever asked was not told then.
        if world.is_stopping(1) {
            let stored = world.now;
            world.run(Duration::from_secs(3600));
            assert!(world.now.since(stored) < Duration::from_secs(30), "seed {seed}");
            let tally = world.check();
            assert_eq!(tally.skipped + tally.stopped + tally.finished, 30, "seed {seed}: {tally:?}");
        }
    }
}

#[test]
fn a_small_job_does_not_wait_for_a_large_one() {
    let mut world = World::new(1, 500, 16, Faults::NONE);
    let names: Vec<String> = (0..500).map(|index| format!("n{index}")).collect();
    world.job(1, &names);
    world.advance(Duration::from_secs(60));
    world.job(2, &names[490..493]);
    let accepted = world.now;
    while !world.has_ended(2) {
        world.step();
        assert!(world.now.since(accepted) <= world::TASK_SECONDS_MAX * 3, "the small job waits");
    }
    assert!(!world.has_ended(1));
}
