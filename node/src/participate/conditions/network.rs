//! Whether the network is metered, as NetworkManager knows it.
//!
//! `nmcli` is asked, because a client for D-Bus would be a large dependency for one property, and
//! wherever NetworkManager is, `nmcli` is with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether data costs something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// NetworkManager says that it does not, or does not know.
    Unmetered,
    /// It says that it does, or guesses so: the device and the answer.
    Metered {
        /// The device, like `wlan0`.
        device: String,
        /// `yes` or `yes (guessed)`.
        answer: String,
    },
    /// There is no NetworkManager to ask.
    Unknown,
}

/// Where distributions put it. No search of `PATH`: who can change that has no say here.
const NMCLI: [&str; 2] = ["usr/bin/nmcli", "run/current-system/sw/bin/nmcli"];

/// Asks NetworkManager about the devices through which the machine reaches other networks.
pub(super) fn read(root: &Path) -> Network {
    let Some(nmcli) = NMCLI
        .iter()
        .map(|path| root.join(path))
        .find(|path| path.is_file())
    else {
        return Network::Unknown;
    };
    match ask(&nmcli) {
        Some(answer) => {
            let routes = fs::read_to_string(root.join("proc/net/route")).unwrap_or_default();
            metered(&answer, &default_devices(&routes))
        }
        None => Network::Unknown,
    }
}

/// What `nmcli` says; nothing where NetworkManager does not run.
fn ask(nmcli: &PathBuf) -> Option<String> {
    let output = Command::new(nmcli)
        .args(["--terse", "--wait", "5", "--fields"])
        .args(["GENERAL.DEVICE,GENERAL.METERED", "device", "show"])
        // Its answers are translated otherwise.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// The first metered one of these devices in `nmcli`'s answer; of all that it lists where `devices` is
/// empty.
fn metered(answer: &str, devices: &BTreeSet<String>) -> Network {
    let mut device = "";
    for line in answer.lines() {
        match line.split_once(':') {
            Some(("GENERAL.DEVICE", name)) => device = name,
            Some(("GENERAL.METERED", metered))
                if metered.starts_with("yes")
                    && (devices.is_empty() || devices.contains(device)) =>
            {
                return Network::Metered {
                    device: device.to_owned(),
                    answer: metered.to_owned(),
                };
            }
            _ => {}
        }
    }
    Network::Unmetered
}

/// The devices of the default routes in `/proc/net/route`: those with the destination 0 and the
/// mask 0.
fn default_devices(routes: &str) -> BTreeSet<String> {
    let default = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields[..] {
            [device, "00000000", _, _, _, _, _, "00000000", ..] => Some(device.to_owned()),
            _ => None,
        }
    };
    routes.lines().filter_map(default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlp3s0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wlp3s0\t0002A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
";

    const ANSWER: &str = "\
GENERAL.DEVICE:wlp3s0
GENERAL.METERED:yes (guessed)

GENERAL.DEVICE:docker0
GENERAL.METERED:no (guessed)

GENERAL.DEVICE:lo
GENERAL.METERED:unknown
";

    fn device(name: &str) -> BTreeSet<String> {
        [name.to_owned()].into()
    }

    #[test]
    fn the_device_of_the_default_route_counts() {
        assert_eq!(default_devices(ROUTES), device("wlp3s0"));
        let expected = Network::Metered {
            device: "wlp3s0".to_owned(),
            answer: "yes (guessed)".to_owned(),
        };
        assert_eq!(metered(ANSWER, &default_devices(ROUTES)), expected);
        assert_eq!(metered(ANSWER, &device("docker0")), Network::Unmetered);
        // No default route of IPv4: any device may be the one.
        assert_eq!(metered(ANSWER, &BTreeSet::new()), expected);
    }

    #[test]
    fn what_is_not_known_to_be_metered_is_not() {
        for answer in ["no", "no (guessed)", "unknown", "--"] {
            let answer = ANSWER.replace("yes (guessed)", answer);
            assert_eq!(metered(&answer, &BTreeSet::new()), Network::Unmetered);
        }
        assert_eq!(metered("", &device("wlp3s0")), Network::Unmetered);
        assert!(default_devices("").is_empty());
    }

    #[test]
    fn a_machine_without_network_manager_does_not_know() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()), Network::Unknown);
    }
}
