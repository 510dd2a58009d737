//! A diff of configs for people: one line a changed field.

use serde_json::Value;

/// Text of a list of `{"path", "before", "after"}`; a missing side is null.
pub(super) fn text(changes: &Value) -> String {
    let mut lines = Vec::new();
    for change in changes.as_array().into_iter().flatten() {
        let path = change["path"].as_str().unwrap_or_default();
        match (&change["before"], &change["after"]) {
            (Value::Null, after) => {
                lines.push(format!("+ {path}"));
                leaves(after, "", &mut |pointer, value| {
                    lines.push(format!("    {pointer}: {value}"))
                });
            }
            (_, Value::Null) => lines.push(format!("- {path}")),
            (before, after) => {
                lines.push(format!("~ {path}"));
                compare(before, after, "", &mut lines);
            }
        }
    }
    if lines.is_empty() {
        lines.push("no difference".into());
    }
    lines.join("\n")
}

fn compare(before: &Value, after: &Value, at: &str, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old {
                match new.get(key) {
                    Some(new) => compare(old, new, &join(at, key), lines),
                    None => lines.push(format!("    {}: {old} -> (default)", join(at, key))),
                }
            }
            for (key, new) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                lines.push(format!("    {}: (default) -> {new}", join(at, key)));
            }
        }
        (Value::Array(old), Value::Array(new)) => compare_items(old, new, at, lines),
        (old, new) if old != new => lines.push(format!("    {at}: {old} -> {new}")),
        _ => {}
    }
}

/// Items with an id or a name are matched by it, others by their place.
fn compare_items(old: &[Value], new: &[Value], at: &str, lines: &mut Vec<String>) {
    for (index, item) in old.iter().enumerate() {
        let label = label(item, index);
        match new
            .iter()
            .enumerate()
            .find(|(place, other)| self::label(other, *place) == label)
        {
            Some((_, other)) => compare(item, other, &join(at, &label), lines),
            None => lines.push(format!("    {}: removed", join(at, &label))),
        }
    }
    for (index, item) in new.iter().enumerate() {
        let label = label(item, index);
        if !old
            .iter()
            .enumerate()
            .any(|(place, other)| self::label(other, place) == label)
        {
            lines.push(format!("    {}: added {item}", join(at, &label)));
        }
    }
}

fn label(item: &Value, index: usize) -> String {
    let named = item.get("id").or(item.get("name")).or(item.get("pool"));
    named
        .and_then(Value::as_str)
        .map_or_else(|| index.to_string(), str::to_owned)
}

fn leaves(value: &Value, at: &str, each: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                leaves(value, &join(at, key), each);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                each(&join(at, &label(item, index)), item);
            }
        }
        other => each(at, other),
    }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() {
        key.into()
    } else {
        format!("{at}/{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_told_by_field_and_backends_by_their_id() {
        let pool = |weight: u32, last: &str| json!({"name": "web", "backends": [{"id": "b1", "weight": weight}, {"id": last, "weight": 1}]});
        let changes = json!([
            {"path": "/pools/web", "before": pool(3, "b2"), "after": pool(5, "b3")},
            {"path": "/routes/old", "before": {"name": "old"}, "after": null},
            {"path": "/pools/new", "before": null, "after": {"name": "new"}},
        ]);
        let expected = "~ /pools/web
    backends/b1/weight: 3 -> 5
    backends/b2: removed
    backends/b3: added {\"id\":\"b3\",\"weight\":1}
- /routes/old
+ /pools/new
    name: \"new\"";
        assert_eq!(text(&changes), expected);
        assert_eq!(text(&json!([])), "no difference");
    }
}
