//! Single values of an experiment, replaced on the command line.

use toml::{Table, Value};

use super::ExperimentError;

/// Puts the value of a setting `KEY=VALUE` into a file, in the place of what it says there.
pub(super) fn apply(file: &mut Table, setting: &str) -> Result<(), ExperimentError> {
    let refused = |problem: String| ExperimentError::Setting {
        setting: setting.to_owned(),
        problem,
    };
    let (key, value) = setting
        .split_once('=')
        .ok_or_else(|| refused("it has no =".to_owned()))?;
    let value = parse(value.trim()).map_err(&refused)?;
    let (tables, last) = match key.trim().rsplit_once('.') {
        Some((tables, last)) => (Some(tables), last),
        None => (None, key.trim()),
    };
    let mut table = file;
    for name in tables.into_iter().flat_map(|tables| tables.split('.')) {
        let inner = table
            .entry(name)
            .or_insert_with(|| Value::Table(Table::new()));
        table = inner
            .as_table_mut()
            .ok_or_else(|| refused(format!("{name} is no table there")))?;
    }
    // An empty name is an unknown key, and refused as one.
    table.insert(last.to_owned(), value);
    Ok(())
}

/// A value as TOML has it; what is a bare word is a string, because a shell takes quotes away.
fn parse(value: &str) -> Result<Value, String> {
    let bare = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    if value != "true"
        && value != "false"
        && value.starts_with(|first: char| first.is_ascii_lowercase())
        && value.bytes().all(bare)
    {
        return Ok(Value::String(value.to_owned()));
    }
    let table: Table =
        toml::from_str(&format!("value = {value}")).map_err(|error| error.message().to_owned())?;
    match <[_; 1]>::try_from(table.into_iter().collect::<Vec<_>>()) {
        Ok([(_, value)]) => Ok(value),
        Err(_) => Err("it is more than one value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Table {
        toml::from_str("seed = 1\n[training]\nbatch = 16\n[server.fedavg]\nrate = 1.0").unwrap()
    }

    fn applied(setting: &str) -> Table {
        let mut file = file();
        apply(&mut file, setting).unwrap();
        file
    }

    #[test]
    fn values_are_replaced_and_added() {
        assert_eq!(applied("training.batch=8")["training"]["batch"], 8.into());
        assert_eq!(applied("seed = 7")["seed"], 7.into());
        let added = applied("update.compression.fraction=0.5");
        assert_eq!(added["update"]["compression"]["fraction"], 0.5.into());
        let server = applied("server={ fedadam = { rate = 0.01 } }");
        assert_eq!(server["server"].as_table().unwrap().len(), 1);
        assert_eq!(server["server"]["fedadam"]["rate"], 0.01.into());
    }

    #[test]
    fn bare_words_are_strings() {
        assert_eq!(
            applied("cohort.graph=sparse")["cohort"]["graph"],
            "sparse".into()
        );
        assert_eq!(
            applied("cohort.dropped=true")["cohort"]["dropped"],
            true.into()
        );
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for (setting, why) in [
            ("training.batch", "it has no ="),
            ("seed.more=1", "seed is no table"),
            ("seed=1\nother=2", "more than one value"),
            ("seed=", ""),
            ("seed=Sparse", ""),
        ] {
            let error = apply(&mut file(), setting).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.contains("the setting"), "{error}");
        }
    }
}
