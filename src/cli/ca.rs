//! `podium ca`: a certificate authority for labs and tests.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;

use crate::ca::{AltNames, Authority, CaError, KeyType};

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a CA in a directory, in Puppet's layout
    Init {
        /// Directory, like Puppet's ssldir
        dir: PathBuf,
        /// Common name of the CA
        #[arg(long, default_value = "Podium CA")]
        name: String,
        /// Keys of the CA and of what it issues; p256 makes handshakes cheap, rsa4096 is what Puppet makes
        #[arg(long, value_enum, default_value_t = KeyType::P256)]
        key_type: KeyType,
    },
    /// Makes a key and a certificate
    Issue {
        /// Directory of the CA
        dir: PathBuf,
        /// Certificate name, as a rule the host's full name
        name: String,
        /// Further host names, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        dns_alt_names: Vec<String>,
        /// Further addresses, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "ADDRESSES")]
        ip: Vec<IpAddr>,
    },
    /// Puts the certificate of a name on the revocation list
    Revoke {
        /// Directory of the CA
        dir: PathBuf,
        /// Certificate name
        name: String,
    },
    /// Shows every certificate the CA has issued
    List {
        /// Directory of the CA
        dir: PathBuf,
    },
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.command {
        Command::Init { dir, name, key_type } => init(dir, name, *key_type),
        Command::Issue { dir, name, dns_alt_names, ip } => {
            issue(dir, name, &AltNames { dns: dns_alt_names.clone(), addresses: ip.clone() })
        }
        Command::Revoke { dir, name } => revoke(dir, name),
        Command::List { dir } => list(dir),
    };
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("podium ca: {error}");
            ExitCode::FAILURE
        }
    }
}

fn init(dir: &Path, name: &str, key_type: KeyType) -> Result<String, CaError> {
    Authority::create(dir, name, key_type)?;
    Ok(format!("Made the CA \"{name}\" in {0}. Next: podium ca issue {0} NAME", dir.display()))
}

fn issue(dir: &Path, name: &str, alt_names: &AltNames) -> Result<String, CaError> {
    let issued = Authority::open(dir)?.issue(name, alt_names)?;
    Ok(format!(
        "Certificate: {}\nPrivate key: {}\nCA:          {}\nCRL:         {}",
        issued.certificate.display(),
        issued.key.display(),
        issued.ca.display(),
        issued.crl.display()
    ))
}

fn revoke(dir: &Path, name: &str) -> Result<String, CaError> {
    let authority = Authority::open(dir)?;
    let serials: Vec<String> = authority.revoke(name)?.iter().map(|serial| format!("0x{serial:04X}")).collect();
    let crl = authority.paths(name).crl;
    Ok(format!("Revoked {name} ({}). Give {} to servers and agents.", serials.join(", "), crl.display()))
}

fn list(dir: &Path) -> Result<String, CaError> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["serial", "state", "not after", "name"]);
    for entry in Authority::open(dir)?.list()? {
        table.add_row([format!("0x{:04X}", entry.serial), entry.state.to_string(), entry.not_after, entry.name]);
    }
    Ok(table.trim_fmt())
}
