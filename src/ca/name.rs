//! Which names certificates may have: Puppet's rule for certnames, and host names for the alternative names.

use super::CaError;

/// A host name has no more characters, and Puppet's certnames are host names as a rule.
const NAME_BYTES_MAX: usize = 253;

/// Puppet's rule: lower case letters, digits, `.`, `_` and `-`.
pub fn check(name: &str) -> Result<(), CaError> {
    let rule = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "it has more than 253 characters"
    } else if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        "Puppet's certificate names are lower case"
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        "only a-z, 0-9, '.', '_' and '-' are allowed"
    } else if name.starts_with(['.', '-']) || name.contains("..") {
        "it must not begin with '.' or '-' nor contain '..'"
    } else if name == "ca" {
        "certs/ca.pem is the CA's own certificate"
    } else {
        return Ok(());
    };
    Err(CaError::InvalidName { name: name.to_owned(), rule })
}

/// A host name, the first label of which may be `*`.
pub fn check_dns(name: &str) -> Result<(), CaError> {
    let labels_ok = name.strip_prefix("*.").unwrap_or(name).split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    });
    if labels_ok && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(CaError::InvalidName { name: name.to_owned(), rule: "it is not a host name; addresses are given with --ip" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certnames() {
        for name in ["web1", "web-1.example.com", "0_a"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", "Web1", "a/b", "../x", ".x", "-x", "a..b", "ä", "a b", "ca", "*", &"a".repeat(254)] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn alternative_names() {
        for name in ["localhost", "*.example.com", "Puppet.Example.COM"] {
            assert_eq!(check_dns(name), Ok(()), "{name}");
        }
        for name in ["", "a..b", "*", "a.*", "a b", ".a", "a."] {
            assert!(check_dns(name).is_err(), "{name}");
        }
    }
}
