//! Refusals of the classifier, each with the kind, status and details that the API documents ("node classifier API
//! errors").

use serde_json::{Value, json};

use super::classify::Conflicts;
use super::group::{Group, schema};
use crate::orchestrator::store::StoreError;

/// Why the classifier does not do what it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupError {
    /// The id is no UUID.
    MalformedUuid(String),
    /// The request has the wrong form.
    Schema {
        /// The request.
        submitted: Value,
        /// What it must look like.
        schema: Value,
        /// What is wrong.
        error: String,
    },
    /// The id in the body is not that of the path.
    ConflictingIds {
        /// In the body.
        submitted: String,
        /// In the path.
        from_url: String,
    },
    /// Another group of the environment has the name.
    NotUnique(Box<Group>),
    /// There is no group with the id of the parent.
    MissingParent(Box<Group>),
    /// A group would be above itself.
    Cycle(Vec<Group>),
    /// More groups, or more levels of them, than there may be.
    TooMany(String),
    /// The group has others below it.
    ChildrenPresent {
        /// The group.
        group: Box<Group>,
        /// Those below it.
        children: Vec<Group>,
    },
    /// The group of all nodes must stay as it is in this respect.
    Root(&'static str),
    /// There is no such group.
    NotFound(String),
    /// Groups disagree on a node.
    Conflict(Box<Conflicts>),
    /// A rule that PuppetDB cannot be asked about.
    Untranslatable {
        /// The rule.
        rule: Value,
        /// Why not.
        error: String,
    },
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for GroupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl GroupError {
    /// A request for a group that has the wrong form.
    pub fn schema(submitted: &Value, error: String) -> Self {
        Self::Schema { submitted: submitted.clone(), schema: schema(), error }
    }

    /// The word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MalformedUuid(_) => "malformed-uuid",
            Self::Schema { .. } => "schema-violation",
            Self::ConflictingIds { .. } => "conflicting-ids",
            Self::NotUnique(_) => "uniqueness-violation",
            Self::MissingParent(_) => "missing-parent",
            Self::Cycle(_) => "inheritance-cycle",
            Self::TooMany(_) => "too-many-groups",
            Self::ChildrenPresent { .. } => "children-present",
            Self::Root(_) => "root-group-edit",
            Self::NotFound(_) => "not-found",
            Self::Conflict(_) => "classification-conflict",
            Self::Untranslatable { .. } => "untranslatable-rule",
            Self::Store(_) => "application-error",
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::MalformedUuid(_) | Self::Schema { .. } | Self::ConflictingIds { .. } => 400,
            Self::NotFound(_) => 404,
            Self::Conflict(_) | Self::Store(_) => 500,
            Self::NotUnique(_)
            | Self::MissingParent(_)
            | Self::Cycle(_)
            | Self::TooMany(_)
            | Self::ChildrenPresent { .. }
            | Self::Root(_)
            | Self::Untranslatable { .. } => 422,
        }
    }

    /// For people.
    pub fn message(&self) -> String {
        let names = |groups: &[Group]| groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ");
        match self {
            Self::MalformedUuid(id) => format!("{id:?} is not a UUID."),
            Self::Schema { error, .. } => format!("The request does not have the form that it must have: {error}."),
            Self::ConflictingIds { submitted, from_url } => {
                format!("The group in the request has the id {submitted}, the URL has {from_url}; leave out the first.")
            }
            Self::NotUnique(group) => format!(
                "The environment {} has a group named {:?} already; choose another name.",
                group.environment, group.name
            ),
            Self::MissingParent(group) => format!("There is no group {} to be the parent.", group.parent),
            Self::Cycle(groups) => {
                format!("The groups {} would be above each other; choose another parent.", names(groups))
            }
            Self::TooMany(what) => format!("{what}."),
            Self::ChildrenPresent { group, children } => format!(
                "The group {:?} cannot be deleted because it is the parent of {}; delete them first.",
                group.name,
                names(children)
            ),
            Self::Root(what) => format!("The group of all nodes {what}."),
            Self::NotFound(_) => "The resource could not be found".to_owned(),
            Self::Conflict(_) => {
                "The node is in several groups that do not depend on each other and give it different \
                                  environments, class parameters or variables; see `details`."
                    .to_owned()
            }
            Self::Untranslatable { error, .. } => format!("The rule cannot be translated: {error}."),
            Self::Store(error) => error.to_string(),
        }
    }

    /// For programs.
    pub fn details(&self) -> Value {
        match self {
            Self::MalformedUuid(id) | Self::NotFound(id) => json!(id),
            Self::Schema { submitted, schema, error } => {
                json!({"submitted": submitted, "schema": schema, "error": error})
            }
            Self::ConflictingIds { submitted, from_url } => json!({"submitted": submitted, "fromUrl": from_url}),
            Self::NotUnique(group) => json!({
                "conflict": {"name": group.name, "environment": group.environment},
                "constraintName": "classifier_groups_environment_name",
            }),
            Self::MissingParent(group) => json!(group),
            Self::Cycle(groups) => json!(groups),
            Self::ChildrenPresent { group, children } => json!({"group": group, "children": children}),
            Self::Conflict(conflicts) => conflicts.details(),
            Self::Untranslatable { rule, .. } => rule.clone(),
            Self::TooMany(_) | Self::Root(_) | Self::Store(_) => json!({}),
        }
    }
}
