use crate::{Collection, LinkOptions, Pipeline};

fn linked(pipeline: &str, rules: &str) -> (crate::Linked, Vec<String>) {
    let mut options = LinkOptions::default();
    options.pipelines.add(Pipeline::parse(pipeline, "p.yml").expect(pipeline));
    let linked = Collection::parse(rules, "r.yml").expect(rules).link(&options);
    let faults = linked.faults.iter().map(ToString::to_string).collect();
    (linked, faults)
}

/// A pipeline that cannot be read; the message.
#[test]
fn a_broken_pipeline_says_what_is_wrong() {
    let step = |text: &str| format!("transformations:\n  - {text}");
    for (text, want) in [
        (String::new(), "p.yml:1:1: S080 the file holds 0 documents instead of one pipeline; keep each"),
        ("- a".to_owned(), "p.yml:1:1: S080 a pipeline must be a mapping"),
        ("name: a\n---\nname: b".to_owned(), "p.yml:3:1: S080 the file holds 2 documents"),
        ("names: a".to_owned(), "p.yml:1:1: S080 a pipeline has no attribute `names`; did you mean `name`?"),
        ("priority: high".to_owned(), "p.yml:1:11: S080 `priority` must be a whole number"),
        (step("{mapping: {a: b}}"), "p.yml:2:5: S080 a transformation without `type`"),
        (step("type: magic"), "p.yml:2:11: S080 there is no transformation `magic`"),
        (
            step("{type: query_expression_placeholders, expression: x}"),
            "p.yml:2:12: S080 the transformation `query_expression_placeholders` cannot be applied; it writes text",
        ),
        (
            step("{type: file_placeholders}"),
            "p.yml:2:12: S080 the transformation `file_placeholders` cannot be applied; it fetches values",
        ),
        (
            step("{type: add_condition, conditions: {a|nonsense: 1}}"),
            "p.yml:2:42: S030 unknown modifier `nonsense`",
        ),
        (step("{type: regex}"), "p.yml:2:12: S080 the transformation `regex` cannot be applied"),
        (
            step("{type: field_name_mapping}"),
            "p.yml:2:5: S080 `field_name_mapping` without `mapping`; add `mapping:`",
        ),
        (
            step("{type: field_name_mapping, maping: {}}"),
            "p.yml:2:32: S080 `field_name_mapping` has no attribute `maping`; did you mean `mapping`?",
        ),
        (
            step("{type: replace_string, regex: '(', replacement: x}"),
            "p.yml:2:35: S080 the regular expression `(` cannot be read: unclosed group",
        ),
        (
            step("{type: replace_string, regex: '(?=x)', replacement: x}"),
            "p.yml:2:35: S080 the regular expression `(?=x)` cannot be read: look-around",
        ),
        (
            step("{type: replace_string, regex: x, replacement: '\\1'}"),
            "p.yml:2:51: S080 `\\1` is not a replacement: it names a group that the expression does not have",
        ),
        (
            step("{type: drop_detection_item, rule_conditions: [{type: logsourc, product: a}]}"),
            "p.yml:2:58: S080 `rule_conditions` has no condition `logsourc`",
        ),
        (
            step("{type: drop_detection_item, rule_cond_op: or}"),
            "p.yml:2:47: S080 `rule_cond_op` without `rule_conditions`; it joins nothing",
        ),
        (
            step("{type: drop_detection_item, rule_conditions: [{type: is_sigma_rule}], rule_cond_expr: a}"),
            "p.yml:2:91: S080 `rule_cond_expr` needs conditions with names",
        ),
        (
            step(
                "{type: drop_detection_item, rule_conditions: {a: {type: is_sigma_rule}}, rule_cond_expr: b}",
            ),
            "p.yml:2:94: S080 ",
        ),
        (
            step(
                "{type: set_state, key: a, val: b, field_name_conditions: [{type: include_fields, fields: a}]}",
            ),
            "p.yml:2:5: S080 `set_state` is about the whole rule",
        ),
        (
            step("{type: drop_detection_item, detection_item_conditions: [{type: is_null}]}"),
            "p.yml:2:61: S080 the condition `is_null` without `cond`",
        ),
        (
            step("{type: wildcard_placeholders, include: a, exclude: b}"),
            "p.yml:2:5: S080 `include` and `exclude` together",
        ),
        ("pipeline: a\nsteps: [{for: {product: x}}]".to_owned(), "p.yml:2:9: S080 a step that does nothing"),
        (
            "pipeline: a\nsteps: [{renam: {a: b}}]".to_owned(),
            "p.yml:2:10: S080 a step has no attribute `renam`; did you mean `rename`?",
        ),
    ] {
        let error = Pipeline::parse(&text, "p.yml").expect_err(&text).to_string();
        assert!(error.starts_with(want), "{text}\n got {error}\nwant {want}");
    }
}

/// A pipeline and a rule that it cannot be applied to; the message. The rule is left out.
#[test]
fn a_rule_that_a_pipeline_cannot_change_is_reported() {
    let rule = |detection: &str| {
        format!("title: T\nlogsource: {{product: p}}\ndetection:\n  s: {{{detection}}}\n  condition: s\n")
    };
    for (step, detection, want) in [
        (
            "{type: rule_failure, message: not here}",
            "a: 1",
            "r.yml:1:1: S081 pipeline `n`, line 3: refused: not here",
        ),
        (
            "{type: detection_item_failure, message: no, field_name_conditions: [{type: include_fields, fields: b}]}",
            "a: 1, b: 2",
            "r.yml:4:13: S081 pipeline `n`, line 3: refused: no",
        ),
        ("{type: drop_detection_item}", "a: 1", "r.yml:1:1: S081 the pipelines drop every detection item"),
        (
            "{type: convert_type, target_type: num}",
            "a: x",
            "r.yml:4:10: S082 pipeline `n`, line 3: `convert_type` cannot make a number of `x`",
        ),
        (
            "{type: replace_string, regex: x, replacement: y}",
            "a|base64: x",
            "r.yml:4:17: S082 pipeline `n`, line 3: `replace_string` cannot be applied to a value that is encoded",
        ),
        (
            "{type: hashes_fields, valid_hash_algos: [MD5]}",
            "Hashes|contains: SHA1=x",
            "r.yml:4:7: S082 pipeline `n`, line 3: `hashes_fields` finds no hash of these kinds: MD5",
        ),
        (
            "{type: value_placeholders}",
            "a|expand: '%v%'",
            "r.yml:4:18: S033 pipeline `n`, line 3: the placeholder `%v%`",
        ),
        (
            "{type: strict_field_mapping_failure}",
            "a: 1, b: 1",
            "r.yml:1:1: S081 pipeline `n`, line 3: refused: no step maps these fields: a, b",
        ),
    ] {
        let (linked, faults) = linked(&format!("name: n\ntransformations:\n  - {step}"), &rule(detection));
        assert_eq!(faults.len(), 1, "{step}: {faults:?}");
        assert!(faults[0].starts_with(want), "{step}\n got {}\nwant {want}", faults[0]);
        assert!(linked.rules.rules().is_empty(), "{step}");
    }
}

#[test]
fn correlations_ask_for_the_fields_that_the_rules_have() {
    let rules = "\
title: Base
name: base
logsource: {product: p}
detection: {s: {User: x}, condition: s}
---
title: Many
name: many
correlation:
  type: value_count
  rules: [base]
  group-by: [Computer, who]
  timespan: 1m
  aliases: {who: {base: User}}
  condition: {field: Image, gte: 2}
---
title: Chain
correlation:
  type: event_count
  rules: [many]
  group-by: [Computer]
  timespan: 1h
  condition: {gte: 2}
";
    let pipeline = |names: &str, product: &str| {
        format!(
            "transformations: [{{type: field_name_mapping, mapping: {names}, rule_conditions: [{{type: logsource, \
             product: {product}}}]}}]"
        )
    };
    let shown = |pipeline: &str| {
        let mut options = LinkOptions::default();
        options.pipelines.add(Pipeline::parse(pipeline, "p.yml").expect(pipeline));
        let mut collection = Collection::parse(rules, "r.yml").expect("they are right");
        let correlations = std::mem::take(&mut collection.correlations);
        let under = crate::correlation::rules_under(&collection.rules, &correlations);
        let mut faults: Vec<String> = Vec::new();
        let mut after = Vec::new();
        for (mut c, under) in correlations.into_iter().zip(under) {
            let sources = under.iter().map(|rule| collection.rules[*rule].log_source.clone()).collect();
            match options.pipelines.apply_to_correlation(&mut c, sources, super::AskedAndApplied::new()) {
                Ok(()) => after.push(format!("{:?} {:?}", c.group_by, c.aliases)),
                Err(error) => faults.push(error.to_string()),
            }
        }
        (after, faults)
    };
    let (after, faults) =
        shown(&pipeline("{Computer: [host, node], User: user, Image: exe, who: wrong}", "p"));
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(
        after,
        [
            r#"["host", "node", "who"] [Alias { name: "who", fields: [("base", "user")] }]"#,
            r#"["host", "node"] []"#
        ]
    );
    let (same, _) = shown(&pipeline("{Computer: host}", "other"));
    assert!(same[0].starts_with(r#"["Computer", "who"]"#), "{same:?}");
    let (left, faults) = shown(&pipeline("{Image: [exe, path]}", "p"));
    assert_eq!(left.len(), 1, "the correlation that cannot be mapped is left out");
    assert!(faults[0].contains("S082") && faults[0].contains("`Image`"), "{faults:?}");
}

/// Also if the pipeline changes the rules' log source before or after, and by whichever spelling of the id the correlation
/// names its rule.
#[test]
fn correlations_are_mapped_as_their_rules_are() {
    let rules = "\
title: Base
id: 929a690e-bef0-4204-a928-ef5e620d6fcc
logsource: {product: p}
detection: {s: {User: x}, condition: s}
---
title: Many
correlation:
  type: event_count
  rules: 929A690E-BEF0-4204-A928-EF5E620D6FCC
  group-by: [User, Computer]
  timespan: 1m
  condition: {gte: 2}
";
    let (linked, faults) = linked(
        "\
transformations:
  - {type: field_name_mapping, mapping: {User: user}, rule_conditions: [{type: logsource, product: p}]}
  - {type: change_logsource, product: q}
  - {type: field_name_mapping, mapping: {Computer: host}, rule_conditions: [{type: logsource, product: q}]}
  - {type: field_name_mapping, mapping: {host: wrong}, rule_conditions: [{type: logsource, product: p}]}",
        rules,
    );
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(linked.correlations.correlations()[0].group_by, ["user", "host"]);
}

#[test]
fn what_is_about_queries_has_no_effect_and_is_told() {
    let pipeline = Pipeline::parse(
        "name: n\npostprocessing: [{type: embed}]\nfinalizers: [{type: concat}]\nallowed_backends: [splunk]",
        "p.yml",
    )
    .expect("it is right");
    assert_eq!(pipeline.notices.len(), 3);
}

#[test]
fn the_example_of_the_documentation_does_what_it_says() {
    let text = include_str!("../../../../../docs/pipelines.md");
    let mut blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().expect("its end"));
    let (pipeline, rule) = (blocks.next().expect("a pipeline"), blocks.next().expect("a rule"));
    let (linked, faults) = linked(pipeline, &format!("title: T\n{rule}"));
    assert!(faults.is_empty(), "{faults:?}");
    let names = linked.rules.rules()[0].field_names();
    let names: Vec<&str> = names.into_iter().collect();
    assert_eq!(names, ["event.kind", "process.args", "process.command_line", "process.executable"]);
}
