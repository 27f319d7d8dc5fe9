//! How the wire's own spellings look in the description.

use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::wire::{Headers, Iso};

impl PartialSchema for Iso {
    fn schema() -> RefOr<Schema> {
        RefOr::T(Schema::Object(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                .description(Some("ISO 8601, UTC, milliseconds"))
                .build(),
        ))
    }
}

impl ToSchema for Iso {
    fn name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
}

/// An object whose values are strings.
fn strings() -> Object {
    let text = Schema::Object(ObjectBuilder::new().schema_type(Type::String).build());
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(text))))
        .build()
}

impl PartialSchema for Headers<'_> {
    fn schema() -> RefOr<Schema> {
        RefOr::T(Schema::Object(strings()))
    }
}

impl ToSchema for Headers<'_> {
    fn name() -> std::borrow::Cow<'static, str> {
        "Strings".into()
    }
}
