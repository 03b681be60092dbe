//! What provenance has to say.

use super::*;
use crate::policy::field::Scalar;
use crate::verify::provenance::level::Level;

impl Check<'_> {
    pub(super) fn provenance(&mut self, raw: &raw::Provenance) -> Option<ProvenanceRule> {
        let signer = self.signer_name(&raw.signer);
        let builder = self.template(&raw.builder);
        let source = self.template(&raw.source);
        let reference = self.refs(&raw.reference.0);
        // A rule that could not be read must not become no rule: what is absent is fine, what is wrong is not.
        let commit = self.may(&raw.commit, Self::commit);
        let workflow = self.may(&raw.workflow, Self::template);
        let build_type = self.may(&raw.build_type, Self::build_type);
        let level = self.may(&raw.level, Self::level);
        let parameters = match &raw.parameters {
            None => Some(Vec::new()),
            Some(parameters) => self.fields(parameters, "parameters"),
        };
        Some(ProvenanceRule {
            signer: signer?,
            builder: builder?,
            source: source?,
            reference: reference?,
            commit: commit?,
            workflow: workflow?,
            build_type: build_type?,
            parameters: parameters?,
            level: level?,
            warn_until: raw.warn_until.as_ref().map(|date| date.value),
        })
    }

    /// `Some(None)` for a key that is absent, `None` for one that is wrong.
    fn may<R, T>(&mut self, raw: &Option<R>, read: fn(&mut Self, &R) -> Option<T>) -> Option<Option<T>> {
        match raw {
            None => Some(None),
            Some(raw) => read(self, raw).map(Some),
        }
    }

    fn refs(&mut self, raw: &At<Vec<Text>>) -> Option<RefRule> {
        let refs = self.each(raw);
        match *refs {
            [only] if only.value == "any" => Some(RefRule::Any),
            _ => {
                let mut exactly = Vec::new();
                for text in refs {
                    match text.value == "any" {
                        true => self.errors.push(&text.span, Problem::AnyAmongRefs),
                        false => exactly.extend(self.exact(text)),
                    }
                }
                Some(RefRule::Exactly(exactly))
            }
        }
    }

    fn commit(&mut self, text: &Text) -> Option<String> {
        let whole = matches!(text.value.len(), 40 | 64)
            && text.value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !whole {
            self.errors.push(&text.span, Problem::Commit { found: shorten(&text.value) });
        }
        whole.then(|| text.value.clone())
    }

    /// A URI, which may hold a question mark.
    fn build_type(&mut self, text: &Text) -> Option<String> {
        let template = self.any_text(text)?;
        if template.names_service() {
            self.errors.push(&text.span, Problem::ServiceHasNoPlace);
            return None;
        }
        Some(text.value.clone())
    }

    fn level(&mut self, number: &At<i64>) -> Option<Level> {
        let level = match number.value {
            1 => Some(Level::L1),
            2 => Some(Level::L2),
            3 => Some(Level::L3),
            _ => None,
        };
        if level.is_none() {
            self.errors.push(&number.span, Problem::Level { found: number.value.to_string() });
        }
        level
    }

    /// Members of a document and the values they must have.
    pub(super) fn fields(&mut self, raw: &At<Entries<raw::Scalar>>, key: &'static str) -> Option<Vec<Field>> {
        if raw.value.0.is_empty() {
            self.errors.push(&raw.span, Problem::EmptyTable { key });
            return None;
        }
        // Every one is read, also behind a wrong one.
        let fields: Vec<Option<Field>> =
            raw.value.0.iter().map(|(pointer, value)| self.field(pointer, value)).collect();
        fields.into_iter().collect()
    }

    fn field(&mut self, pointer: &Text, value: &raw::Scalar) -> Option<Field> {
        let good = Field::is_pointer(&pointer.value);
        if !good {
            self.errors.push(&pointer.span, Problem::Pointer { found: shorten(&pointer.value) });
        }
        let value = match value {
            raw::Scalar::Text(text) => Scalar::Text(self.any_text(text)?),
            raw::Scalar::Number(number) => Scalar::Number(number.value),
            raw::Scalar::Truth(truth) => Scalar::Truth(truth.value),
        };
        good.then(|| Field { pointer: pointer.value.clone(), value })
    }

    fn any_text(&mut self, text: &Text) -> Option<Template> {
        let problem = |source| Problem::Template { text: shorten(&text.value), source };
        self.errors.keep(&text.span, Template::of_any_text(&text.value), problem)
    }
}
