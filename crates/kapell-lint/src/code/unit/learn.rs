//! What the nodes of a file say about its names.

use super::{FUNCTIONS, Unit};
use crate::code::{
    imports,
    syntax::{Id, Language},
};

impl Unit {
    /// Learns the declared type of a parameter, a field or a variable.
    fn learn_type(&mut self, id: Id) {
        let child = |field| self.syntax.child(id, field);
        let Some(declared) = child("type") else { return };
        let name = match self.kind(id) {
            "typed_parameter" => self.syntax.children(id).find(|&part| self.kind(part) == "identifier"),
            "required_parameter" | "optional_parameter" => child("pattern"),
            "typed_default_parameter" | "public_field_definition" | "variable_declarator" => child("name"),
            "assignment" => child("left"),
            _ => None,
        };
        let Some(name) = name.map(|name| self.text(name).to_owned()) else { return };
        let fields = ["accessibility_modifier", "readonly", "override_modifier"];
        let of_class = self.kind(id) == "public_field_definition"
            || self.syntax.children(id).any(|part| fields.contains(&self.kind(part)));
        if of_class {
            let own = format!("this.{name}");
            let scope = self.scope_of(id, &own);
            self.types.entry(own.into()).or_default().insert(scope, declared);
        }
        if self.kind(id) != "public_field_definition" {
            let scope = self.scope_of(id, &name);
            self.types.entry(name.into()).or_default().insert(scope, declared);
        }
    }

    fn bind(&mut self, at: Id, name: String, value: Id) {
        let scope = self.scope_of(at, &name);
        self.bindings.entry(name.into()).or_default().entry(scope).or_default().push(value);
    }

    fn scope_of(&self, id: Id, name: &str) -> Id {
        if name.starts_with("self.") || name.starts_with("this.") {
            return self.syntax.around(id).find(|&around| self.is_class(around)).unwrap_or(Id::ROOT);
        }
        self.function_of(id)
    }

    /// Learns the name of a function: its own, or that of the variable it is given to.
    fn learn_function(&mut self, id: Id) {
        let parent = self.syntax[id].parent;
        let given =
            if self.kind(parent) == "variable_declarator" { self.syntax.child(parent, "name") } else { None };
        if let Some(name) = self.syntax.child(id, "name").or(given) {
            let name = self.text(name).into();
            self.functions.entry(name).or_default().push(id);
        }
    }

    /// `export default`
    fn learn_default(&mut self, id: Id) {
        let mut words = self.syntax.children(id).filter(|&child| self.kind(child) == "default");
        let value = self.syntax.child(id, "value").or_else(|| self.syntax.child(id, "declaration"));
        if words.next().is_some() {
            self.default = value;
        }
    }

    /// Learns what an import, or what is like one, says about names. Tells whether it was one.
    fn learn_require(&mut self, name: Id, value: Id) -> bool {
        let Some(names) = imports::required(self, name, value) else { return false };
        self.learn_names(names);
        true
    }

    fn learn_import(&mut self, id: Id) {
        let names = match self.language {
            Language::Python => imports::of_python(self, id),
            _ => imports::of_script(self, id),
        };
        self.learn_names(names);
    }

    fn learn_names(&mut self, names: Vec<imports::Name>) {
        for imports::Name { own, path, origin } in names {
            self.imports.insert(own.split('.').next().unwrap_or(&own).into(), path.into());
            self.origins.insert(own.into(), origin);
        }
    }

    /// Learns what a node says about names.
    pub(super) fn learn(&mut self, id: Id) {
        if FUNCTIONS.contains(&self.kind(id)) {
            return self.learn_function(id);
        }
        if self.is_class(id) {
            if let Some(name) = self.syntax.child(id, "name") {
                let name = self.text(name).into();
                self.classes.entry(name).or_insert(id);
            }
            return;
        }
        self.learn_type(id);
        let child = |field| self.syntax.child(id, field);
        let pair = match self.kind(id) {
            "import_statement" | "import_from_statement" => return self.learn_import(id),
            "export_statement" => return self.learn_default(id),
            "assignment" | "assignment_expression" => child("left").zip(child("right")),
            "variable_declarator" => child("name").zip(child("value")),
            "public_field_definition" => {
                if let Some((name, value)) = child("name").zip(child("value")) {
                    self.bind(id, format!("this.{}", self.text(name)), value);
                }
                return;
            }
            // `with X() as name`
            "as_pattern" => child("alias").zip(self.syntax.children(id).next()),
            _ => None,
        };
        let Some((name, value)) = pair else { return };
        if self.text(name) == "module.exports" {
            self.default = Some(value);
        }
        if !self.learn_require(name, value) {
            self.bind(id, self.text(name).to_owned(), value);
        }
    }
}
