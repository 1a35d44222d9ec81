//! Statements that are put together from pieces.

use std::fmt::{Display, Write};

use sqlx::any::AnyArguments;
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::{Arguments, AssertSqlSafe, Encode, FromRow, Type};

use crate::db::{Db, DbRow};

/// A statement that is put together from pieces; values are bound as `$1`, `$2`, … in the order in which they come.
#[derive(Default)]
pub struct Sql {
    text: String,
    arguments: AnyArguments,
}

impl Sql {
    /// Begins with this text.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), arguments: AnyArguments::default() }
    }

    /// Adds text. Never what somebody sent: that is bound.
    pub fn push(&mut self, text: impl Display) -> &mut Self {
        // Writing to a String does not fail.
        let _ = write!(self.text, "{text}");
        self
    }

    /// Adds a value.
    pub fn push_bind<'t>(&mut self, value: impl Encode<'t, Db> + Type<Db>) -> &mut Self {
        // Numbers and texts can always be bound. What could not would leave a hole that the database refuses.
        if self.arguments.add(value).is_ok() {
            let place = self.arguments.len();
            self.push("$").push(place);
        }
        self
    }

    /// Adds values with commas between them, for `IN (…)`; `NULL`, which nothing equals, if there are none.
    pub fn push_list<'t, T: Encode<'t, Db> + Type<Db>>(
        &mut self,
        values: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        let before = self.arguments.len();
        for value in values {
            if self.arguments.len() > before {
                self.push(", ");
            }
            self.push_bind(value);
        }
        if self.arguments.len() == before { self.push("NULL") } else { self }
    }

    /// Adds `VALUES (…), (…)`, a pair of brackets for each row; there must be a row.
    pub fn push_values<T>(
        &mut self,
        rows: impl IntoIterator<Item = T>,
        mut bind: impl FnMut(&mut Values<'_>, T),
    ) -> &mut Self {
        self.push("VALUES ");
        for (i, row) in rows.into_iter().enumerate() {
            self.push(if i == 0 { "(" } else { "), (" });
            bind(&mut Values { sql: self, first: true }, row);
        }
        self.push(")")
    }

    fn take(&mut self) -> (AssertSqlSafe<String>, AnyArguments) {
        let Self { text, arguments } = std::mem::take(self);
        (AssertSqlSafe(text), arguments)
    }

    /// The statement, to be run. What was put together is used up.
    pub fn build(&mut self) -> Query<'static, Db, AnyArguments> {
        let (text, arguments) = self.take();
        sqlx::query_with(text, arguments)
    }

    /// The statement, of which rows are wanted as tuples.
    pub fn build_query_as<T: for<'r> FromRow<'r, DbRow>>(&mut self) -> QueryAs<'static, Db, T, AnyArguments> {
        let (text, arguments) = self.take();
        sqlx::query_as_with(text, arguments)
    }

    /// The statement, of which the first column is wanted.
    pub fn build_query_scalar<T>(&mut self) -> QueryScalar<'static, Db, T, AnyArguments>
    where
        (T,): for<'r> FromRow<'r, DbRow>,
    {
        let (text, arguments) = self.take();
        sqlx::query_scalar_with(text, arguments)
    }
}

/// The values of one row.
pub struct Values<'s> {
    sql: &'s mut Sql,
    first: bool,
}

impl Values<'_> {
    /// Adds the next value.
    pub fn push_bind<'t>(&mut self, value: impl Encode<'t, Db> + Type<Db>) -> &mut Self {
        if !std::mem::take(&mut self.first) {
            self.sql.push(", ");
        }
        self.sql.push_bind(value);
        self
    }

    /// Adds NULL as the next value.
    pub fn push_null(&mut self) -> &mut Self {
        self.sql.push(if std::mem::take(&mut self.first) { "NULL" } else { ", NULL" });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_in_their_order() {
        let mut sql = Sql::new("a = ");
        sql.push_bind(1_i64).push(" AND b IN (").push_list(["x", "y"]).push(") AND c IN (");
        sql.push_list(Vec::<String>::new()).push(") ");
        sql.push_values([(1_i64, "p"), (2, "q")], |row, (number, text)| {
            row.push_bind(number).push_bind(text);
        });
        assert_eq!(sql.text, "a = $1 AND b IN ($2, $3) AND c IN (NULL) VALUES ($4, $5), ($6, $7)");
        assert_eq!(sql.arguments.len(), 7);
    }
}
