//! Limits against hostile or broken rules. Far above what any honest rule needs.

/// Bytes of one rule file.
pub(crate) const FILE_BYTES: usize = 1 << 20;
/// YAML nesting.
pub(crate) const YAML_DEPTH: usize = 32;
/// YAML nodes of one file after aliases are expanded.
pub(crate) const YAML_NODES: usize = 200_000;
/// Bytes of text that the documents of one collection may hold once `action: global` is merged into them.
pub(crate) const COLLECTION_BYTES: usize = 8 << 20;
/// Values of one rule.
pub(crate) const RULE_VALUES: usize = 50_000;
/// Bytes of one value.
pub(crate) const VALUE_BYTES: usize = 32 << 10;
/// Nesting of a condition.
pub(crate) const CONDITION_DEPTH: usize = 64;
/// Words of a condition; a selector counts as many times as it names selections.
pub(crate) const CONDITION_TERMS: usize = 4096;
/// Compiled size of one regular expression, in bytes.
pub(crate) const REGEX_BYTES: usize = 4 << 20;
/// Spellings of one value that `windash` may make before an encoding.
pub(crate) const WINDASH_VARIANTS: usize = 125;
/// Characters of a value that an explanation shows.
pub(crate) const SHOWN_CHARS: usize = 1000;
/// Regular expressions of one rule.
pub(crate) const RULE_REGEXES: usize = 100;
/// Bytes of text that the rules of one set look for, all spellings counted. The public rules have half a million.
pub(crate) const SET_BYTES: usize = 8 << 20;
/// Different fields that the rules of one set name: a field takes some memory, however little is looked for in it.
pub(crate) const SET_FIELDS: usize = 8192;
/// Combinations of the rules' log sources that are compiled together, as events ask for them, and the bytes of text, as
/// [`SET_BYTES`] counts them, in all of these. Events of further ones are matched without an index.
pub(crate) const FAMILIES: usize = 1024;
/// See [`FAMILIES`].
pub(crate) const FAMILY_BYTES: usize = 32 << 20;
/// Bytes that filters, and again that placeholders, may add to the rules of one collection; a test without its text
/// counts [`LINK_TEST`].
pub(crate) const LINK_BYTES: usize = 64 << 20;
/// See [`LINK_BYTES`].
pub(crate) const LINK_TEST: usize = 64;
/// Entries of one table of words or beginnings in a file of log sources.
pub(crate) const SOURCE_TABLE: usize = 256;
/// Correlations of one set.
pub(crate) const CORRELATIONS: usize = 10_000;
/// Rules that one correlation may refer to.
pub(crate) const CORRELATED_RULES: usize = 1000;
/// Rules that one temporal correlation may refer to.
pub(crate) const TEMPORAL_RULES: usize = 64;
/// Correlations over correlations over correlations: how many in one chain.
pub(crate) const CORRELATION_CHAIN: usize = 8;
/// Fields of a `group-by` or of a value count.
pub(crate) const GROUP_FIELDS: usize = 32;
/// The highest count that a correlation's condition may ask for.
pub(crate) const CORRELATED_EVENTS: usize = 1_000_000;
/// Ways in which the condition of an ordered correlation may be met.
pub(crate) const ORDERED_WAYS: usize = 256;
/// Characters of a value that correlations compare; a longer one is told apart by a hash of the rest.
pub(crate) const CAPTURED_CHARS: usize = 512;
/// Values of one list that correlations look at.
pub(crate) const CAPTURED_VALUES: usize = 256;
/// Events that a match of a correlation names, the last ones.
pub(crate) const MATCH_EVENTS: usize = 100;
/// Values of one field for which the rules of a log source are compiled apart. The public rules name about a hundred.
pub(crate) const OUTCOMES: u32 = 1024;
/// Bytes of text, as [`SET_BYTES`] counts them, of all rules that are so compiled, each as often as it is.
pub(crate) const OUTCOME_BYTES: usize = 4 << 20;
/// Fields that these rules name, each as often as it is compiled.
pub(crate) const OUTCOME_FIELDS: usize = 1 << 16;
/// Values of one field that rules may name, and tests that do so, for any of this to be done.
pub(crate) const NAMED_VALUES: usize = 1 << 16;
/// See [`NAMED_VALUES`].
pub(crate) const NAMING_TESTS: usize = 1 << 20;
