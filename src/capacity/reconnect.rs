//! How long a fleet needs to come back when all of it connects at once: agents with the legacy schedule (they give an
//! attempt up after 5 s and wait 0.2, 2, 4, 8, 16, 32 s, half a second more or less, before the next) against a broker
//! that shakes hands newest first and lets go of what has waited too long. Flows instead of single agents, in steps of a
//! tenth of a second: the same input gives the same answer.

use std::collections::{BTreeMap, VecDeque};

use crate::limits;

/// Steps of a second.
const STEPS_PER_SECOND: u64 = 10;

/// Steps after which no answer is given any more: an hour.
const STEPS_MAX: u64 = 3_600 * STEPS_PER_SECOND;

/// Pauses of the legacy agent before its attempts, in steps; the last one stays.
const PAUSES: [u64; 6] = [2, 20, 40, 80, 160, 320];

/// Steps over which a pause is spread: half a second more or less.
const SPREAD: u64 = 10;

/// Parts of an agent that are none any more.
const NOBODY: f64 = 0.5;

/// What a broker can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Broker {
    /// Full handshakes in a second, over all cores.
    pub handshakes_per_second: f64,
    /// Connections that wait for a handshake, over all workers; further ones wait in the kernel until the agents give up.
    pub waiting_room: f64,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reconnect {
    /// Seconds until the last agent was back; `None` after an hour.
    pub seconds: Option<f64>,
    /// Attempts to connect per agent.
    pub attempts: f64,
}

/// Agents that wait since the same step and are at the same attempt.
struct Waiting {
    since: u64,
    attempt: usize,
    agents: f64,
}

/// Everybody at once.
pub fn simulate(agents: u64, broker: Broker) -> Reconnect {
    let mut coming = BTreeMap::from([(0, vec![(0, agents as f64)])]);
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let (mut left, mut attempts) = (agents as f64, 0.0);
    let each = |attempts: f64| attempts / agents.max(1) as f64;
    for step in 0..STEPS_MAX {
        if left < NOBODY {
            return Reconnect { seconds: Some(step as f64 / STEPS_PER_SECOND as f64), attempts: each(attempts) };
        }
        for (attempt, agents) in merged(coming.remove(&step).unwrap_or_default()) {
            attempts += agents;
            waiting.push_back(Waiting { since: step, attempt, agents });
        }
        left -= serve(&mut waiting, broker.handshakes_per_second / STEPS_PER_SECOND as f64);
        for lost in give_up(&mut waiting, step, broker.waiting_room) {
            let pause = PAUSES[lost.attempt.min(PAUSES.len() - 1)];
            for slice in 0..SPREAD {
                // Half a second more or less around the pause, never in the past.
                let at = (step + pause + slice).saturating_sub(SPREAD / 2).max(step + 1);
                coming.entry(at).or_insert_with(Vec::new).push((lost.attempt + 1, lost.agents / SPREAD as f64));
            }
        }
    }
    Reconnect { seconds: None, attempts: each(attempts) }
}

/// One entry per attempt, so that the agents of many slices do not stay many entries.
fn merged(arrivals: Vec<(usize, f64)>) -> BTreeMap<usize, f64> {
    let mut sums = BTreeMap::new();
    for (attempt, agents) in arrivals {
        *sums.entry(attempt.min(PAUSES.len())).or_default() += agents;
    }
    sums
}

/// Shakes hands with the newest; says with how many.
fn serve(waiting: &mut VecDeque<Waiting>, capacity: f64) -> f64 {
    let mut served = 0.0;
    while let Some(newest) = waiting.back_mut() {
        let taken = newest.agents.min(capacity - served);
        newest.agents -= taken;
        served += taken;
        if newest.agents > 1e-9 {
            break;
        }
        waiting.pop_back();
    }
    served
}

/// Those who have waited as long as they may: in the waiting room less than the agent's own patience, in the kernel all
/// of it.
fn give_up(waiting: &mut VecDeque<Waiting>, step: u64, mut room: f64) -> Vec<Waiting> {
    let steps = |seconds: u64| seconds * STEPS_PER_SECOND;
    let (ours, theirs) = (steps(limits::ACCEPT_QUEUE_WAIT.as_secs()), steps(limits::HANDSHAKE_TIMEOUT.as_secs()));
    let mut lost = Vec::new();
    for Waiting { since, attempt, agents } in waiting.drain(..).collect::<Vec<_>>() {
        let seated = match step - since {
            age if age >= theirs => agents,
            // What the room does not hold has never left the kernel's queue.
            age if age == ours => agents.min(room),
            _ => 0.0,
        };
        room -= seated.min(room);
        if seated > 0.0 {
            lost.push(Waiting { since, attempt, agents: seated });
        }
        if agents > seated {
            waiting.push_back(Waiting { since, attempt, agents: agents - seated });
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(handshakes_per_second: f64) -> Broker {
        Broker { handshakes_per_second, waiting_room: 8.0 * 1_024.0 }
    }

    fn seconds(agents: u64, rate: f64) -> f64 {
        simulate(agents, broker(rate)).seconds.unwrap()
    }

    #[test]
    fn a_fleet_below_one_second_s_work_is_back_at_its_first_attempt() {
        let answer = simulate(400, broker(500.0));
        assert!(answer.seconds.unwrap() <= 1.0, "{answer:?}");
        assert!((answer.attempts - 1.0).abs() < 1e-6, "{answer:?}");
    }

    #[test]
    fn it_takes_at_least_the_handshakes_and_not_much_longer() {
        for (agents, rate) in [(1_000, 588.0), (10_000, 1_176.0), (50_000, 4_700.0), (200_000, 4_700.0)] {
            let least = agents as f64 / rate;
            let took = seconds(agents, rate);
            assert!(
                took >= least - 0.2 && took <= 3.0 * least + 40.0,
                "{agents} agents at {rate}: {took} s, at least {least}"
            );
        }
    }

    #[test]
    fn more_agents_or_fewer_handshakes_never_take_less() {
        let times: Vec<f64> = [1_000, 5_000, 20_000, 80_000].map(|agents| seconds(agents, 1_000.0)).to_vec();
        assert!(times.is_sorted(), "{times:?}");
        assert!(seconds(20_000, 500.0) >= seconds(20_000, 1_000.0));
    }

    #[test]
    fn the_newest_are_served_first_and_nobody_waits_longer_than_he_may() {
        let of = |since, agents| Waiting { since, attempt: 0, agents };
        let mut waiting = VecDeque::from([of(0, 10.0), of(1, 10.0)]);
        assert_eq!(serve(&mut waiting, 15.0), 15.0);
        assert_eq!(waiting.iter().map(|left| (left.since, left.agents)).collect::<Vec<_>>(), [(0, 5.0)]);
        // The room has seats for two, the others wait in the kernel until they give up themselves.
        let ages = [(29, 0.0), (30, 2.0), (50, 3.0)];
        for (step, expected) in ages {
            let lost: f64 = give_up(&mut waiting, step, 2.0).iter().map(|lost| lost.agents).sum();
            assert_eq!(lost, expected, "{step}");
        }
        assert!(waiting.is_empty());
    }

    #[test]
    fn nobody_is_back_at_once_and_a_broker_without_power_never_answers() {
        assert_eq!(simulate(0, broker(1.0)).seconds, Some(0.0));
        assert_eq!(simulate(1_000_000, broker(0.1)).seconds, None);
    }
}
