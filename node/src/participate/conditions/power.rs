//! Whether the machine runs on mains power: `/sys/class/power_supply`, as the kernel's
//! `Documentation/ABI/testing/sysfs-class-power` describes it.

use std::fs;
use std::path::Path;

/// Where the machine's power comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// From outside; or nothing here says otherwise, as on a machine without a battery.
    Mains,
    /// From a battery, with so many percent left, if it says so.
    Battery(Option<u8>),
}

/// Reads the power supplies under `root`.
///
/// A supply from outside (mains, USB, wireless) that is online means mains. Batteries of mice and
/// headsets do not count. Where no supply from outside is listed at all, a battery that discharges
/// tells.
pub(super) fn read(root: &Path) -> Power {
    let Ok(supplies) = fs::read_dir(root.join("sys/class/power_supply")) else {
        return Power::Mains;
    };
    let (mut outside, mut batteries) = (Vec::new(), Vec::new());
    for supply in supplies.flatten() {
        let folder = supply.path();
        let value = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        match value("type").as_str() {
            "Battery" | "UPS" if value("scope") != "Device" => {
                batteries.push((value("status"), value("capacity").parse().ok()));
            }
            "Mains" | "USB" | "Wireless" => outside.push(value("online")),
            _ => {}
        }
    }
    let online = outside.iter().any(|online| online == "1" || online == "2");
    let is = |wanted: &str| batteries.iter().any(|(status, _)| status == wanted);
    if batteries.is_empty() || online || is("Charging") {
        return Power::Mains;
    }
    if outside.is_empty() && !is("Discharging") {
        return Power::Mains;
    }
    Power::Battery(batteries.iter().filter_map(|&(_, percent)| percent).min())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a machine says: supplies with their files.
    fn machine(supplies: &[(&str, &[(&str, &str)])]) -> Power {
        let root = tempfile::tempdir().unwrap();
        for (supply, files) in supplies {
            let folder = root.path().join("sys/class/power_supply").join(supply);
            fs::create_dir_all(&folder).unwrap();
            for (file, text) in *files {
                fs::write(folder.join(file), format!("{text}\n")).unwrap();
            }
        }
        read(root.path())
    }

    const UNPLUGGED: (&str, &[(&str, &str)]) = ("AC", &[("type", "Mains"), ("online", "0")]);
    const PLUGGED: (&str, &[(&str, &str)]) = ("AC", &[("type", "Mains"), ("online", "1")]);
    const DISCHARGING: (&str, &[(&str, &str)]) = (
        "BAT0",
        &[
            ("type", "Battery"),
            ("scope", "System"),
            ("status", "Discharging"),
            ("capacity", "57"),
        ],
    );
    const FULL: (&str, &[(&str, &str)]) = ("BAT0", &[("type", "Battery"), ("status", "Full")]);
    const MOUSE: (&str, &[(&str, &str)]) = (
        "hidpp_battery_0",
        &[
            ("type", "Battery"),
            ("scope", "Device"),
            ("status", "Discharging"),
        ],
    );

    #[test]
    fn a_machine_without_a_battery_is_on_mains() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()), Power::Mains);
        assert_eq!(machine(&[MOUSE]), Power::Mains);
        // The socket of a desktop machine, with nothing in it.
        let socket = ("ucsi", [("type", "USB"), ("online", "0")]);
        assert_eq!(machine(&[(socket.0, &socket.1), MOUSE]), Power::Mains);
    }

    #[test]
    fn a_laptop_is_on_what_it_is_plugged_into() {
        assert_eq!(machine(&[PLUGGED, FULL]), Power::Mains);
        assert_eq!(machine(&[UNPLUGGED, DISCHARGING]), Power::Battery(Some(57)));
        // Just unplugged: the battery has not noticed yet.
        assert_eq!(machine(&[UNPLUGGED, FULL]), Power::Battery(None));
        // A charger on USB, while the barrel socket is empty.
        let usb = ("ucsi", [("type", "USB"), ("online", "1")]);
        assert_eq!(
            machine(&[UNPLUGGED, (usb.0, &usb.1), DISCHARGING]),
            Power::Mains
        );
    }

    #[test]
    fn without_a_supply_from_outside_the_battery_tells() {
        assert_eq!(machine(&[DISCHARGING]), Power::Battery(Some(57)));
        assert_eq!(machine(&[FULL]), Power::Mains);
        let charging = ("BAT1", [("type", "Battery"), ("status", "Charging")]);
        assert_eq!(
            machine(&[DISCHARGING, (charging.0, &charging.1)]),
            Power::Mains
        );
    }
}
