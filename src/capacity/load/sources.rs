//! The local addresses that a fleet connects from: one address has about 28,000 ports towards one broker.

use std::net::{IpAddr, Ipv4Addr};

use super::LoadError;
use crate::limits::LOAD_SOURCES_MAX;

/// Reads a list of addresses and networks, `127.0.0.1/24,10.0.0.7`. Of a network all hosts are taken, beginning with the
/// one that is named.
pub fn parse(text: &str) -> Result<Vec<IpAddr>, LoadError> {
    let mut sources = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let refuse = |why: &str| {
            LoadError::Usage(format!("--from: {part:?} {why}; give addresses or networks, such as 127.0.0.1/24"))
        };
        match part.split_once('/') {
            None => sources.push(part.parse().map_err(|_| refuse("is no address"))?),
            Some((address, bits)) => {
                let address: Ipv4Addr = address.parse().map_err(|_| refuse("is no network of IPv4"))?;
                let bits: u32 = bits.parse().map_err(|_| refuse("has no number of bits"))?;
                if !(16..=32).contains(&bits) {
                    return Err(refuse("is not between /16 and /32"));
                }
                sources.extend(hosts(address, bits).map(IpAddr::V4));
            }
        }
        if sources.len() > LOAD_SOURCES_MAX {
            return Err(refuse("has too many addresses"));
        }
    }
    if sources.is_empty() {
        return Err(LoadError::Usage("--from names no address".to_owned()));
    }
    Ok(sources)
}

fn hosts(first: Ipv4Addr, bits: u32) -> impl Iterator<Item = Ipv4Addr> {
    let first = first.to_bits();
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    let (network, broadcast) = (first & mask, first | !mask);
    // In networks of one or two addresses all are hosts.
    let has_ends = bits < 31;
    (first..=broadcast)
        .chain(network..first)
        .filter(move |&address| !has_ends || (address != network && address != broadcast))
        .map(Ipv4Addr::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks() {
        let count = |text: &str| parse(text).unwrap().len();
        assert_eq!(count("127.0.0.1"), 1);
        assert_eq!(count("127.0.0.1/24"), 254);
        assert_eq!(count("127.0.0.1/32, ::1 ,10.1.2.3/31"), 4);
        assert_eq!(count("10.0.0.0/16"), LOAD_SOURCES_MAX);
        let first = parse("10.0.0.200/24").unwrap();
        assert_eq!((first[0], first.len()), ("10.0.0.200".parse().unwrap(), 254));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "names no address"),
            ("localhost", "\"localhost\" is no address"),
            ("127.0.0.1/8", "is not between /16 and /32"),
            ("127.0.0.1/x", "has no number of bits"),
            ("::1/64", "is no network of IPv4"),
            ("10.0.0.0/16,10.1.0.0/16", "has too many addresses"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
