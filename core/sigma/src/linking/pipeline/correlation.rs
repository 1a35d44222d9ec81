//! Pipelines at work on correlations: their fields get the names that the rules' fields got.

use super::applies::Subject;
use super::run::{Run, within};
use super::step::{Step, Transformation};
use crate::correlation::{Correlation, CorrelationCondition};
use crate::error::{Fault, Pos, RuleError};
use wardline_event::LogSource;

impl Run<'_> {
    /// Applies pipelines, by name and steps, to a correlation over rules of these log sources. A step that asks what a
    /// detection holds is applied if it was to one of the rules, as [`Run::asked_and_applied`] says: else these would give
    /// a field another name than the correlation groups by.
    pub fn correlation<'s>(
        &mut self,
        correlation: &mut Correlation,
        mut sources: Vec<LogSource<'static>>,
        pipelines: impl Iterator<Item = (&'s str, &'s [Step])>,
    ) -> Result<(), RuleError> {
        for (number, (name, steps)) in pipelines.enumerate() {
            self.pipeline = number;
            for step in steps {
                self.correlation_step(correlation, &mut sources, step)
                    .map_err(|fault| within(fault, name, step).at(&correlation.attributes.origin))?;
            }
        }
        Ok(())
    }

    fn correlation_step(
        &mut self,
        correlation: &mut Correlation,
        sources: &mut [LogSource<'static>],
        step: &Step,
    ) -> Result<(), Fault> {
        let is_for = |run: &Self, correlation: &Correlation, log_sources: &[LogSource<'static>]| {
            if step.asks_for_detection() {
                return run.asked_and_applied.contains(&run.place(step));
            }
            let attributes = &correlation.attributes;
            let subject = Subject { attributes, log_sources, selections: &[], is_rule: false };
            step.rules.hold(&mut |c| c.holds(&subject, run))
        };
        if !is_for(self, correlation, sources) {
            return Ok(());
        }
        let at = Pos { line: correlation.attributes.line, column: 1 };
        match &step.what {
            Transformation::Nest(steps) => {
                for step in steps {
                    self.correlation_step(correlation, sources, step)?;
                }
            }
            // As the rules have it from here on.
            Transformation::ChangeLogSource(new) => {
                for own in sources.iter_mut() {
                    if is_for(self, correlation, std::slice::from_ref(&*own)) {
                        own.clone_from(new);
                    }
                }
            }
            what if what.renames() => {
                self.rename_list(&mut correlation.attributes, step);
                self.rename_fields(correlation, step, at)?;
            }
            // What is about detections says nothing of correlations, which have none.
            what => {
                self.attributes(&mut correlation.attributes, what, at)?;
            }
        }
        self.applied.extend(step.id.clone());
        Ok(())
    }

    fn rename_fields(&mut self, correlation: &mut Correlation, step: &Step, at: Pos) -> Result<(), Fault> {
        let aliases: Vec<String> = correlation.aliases.iter().map(|alias| alias.name.clone()).collect();
        for (_, field) in correlation.aliases.iter_mut().flat_map(|alias| &mut alias.fields) {
            self.rename_one(field, step, at)?;
        }
        for name in std::mem::take(&mut correlation.group_by) {
            let new = if aliases.contains(&name) { None } else { self.names_for(&name, step) };
            match new {
                Some(new) => correlation.group_by.extend(new),
                None => correlation.group_by.push(name),
            }
        }
        if let CorrelationCondition::Thresholds { fields, .. } = &mut correlation.condition {
            for field in fields.iter_mut().filter(|field| !aliases.contains(field)) {
                self.rename_one(field, step, at)?;
            }
        }
        Ok(())
    }

    /// Renames a field that can have one name only.
    fn rename_one(&mut self, field: &mut String, step: &Step, at: Pos) -> Result<(), Fault> {
        let Some(mut new) = self.names_for(field, step) else { return Ok(()) };
        match (new.pop(), new.is_empty()) {
            (Some(only), true) => {
                *field = only;
                Ok(())
            }
            _ => Err(Fault::new(
                "S082",
                at,
                format!("the field `{field}` of this correlation would have several names, or none"),
                "map it to one name, at least where a correlation uses it",
            )),
        }
    }
}
