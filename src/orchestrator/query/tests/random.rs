//! Random queries: they survive being written down and read again, both forms choose the same, and no damage to them makes
//! the parser panic.

use proptest::prelude::*;

use super::super::field::Retirement;
use super::super::print;
use super::super::tree::{Comparison, Entity, Filter, List, Literal, Order};
use super::super::{Field, Pattern, Query, Step};
use super::Fleet;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z]{1,4}", 1 => ".{0,6}"]
}

fn literals() -> impl Strategy<Value = Literal> {
    prop_oneof![
        text().prop_map(Literal::Text),
        any::<i64>().prop_map(Literal::Integer),
        any::<i32>().prop_map(|number| Literal::Float(f64::from(number) + 0.5)),
        any::<bool>().prop_map(Literal::Bool),
    ]
}

fn patterns() -> impl Strategy<Value = Pattern> {
    "[a-z\\\\.\"]{0,4}".prop_filter_map("a regular expression", |text| Pattern::new(&text).ok())
}

fn fields(entity: Entity) -> BoxedStrategy<Field> {
    let step =
        prop_oneof![text().prop_map(Step::Key), (0_usize..20).prop_map(Step::Index), patterns().prop_map(Step::Match),];
    let steps = prop::collection::vec(step, 0..4)
        .prop_filter("an index follows a key", |steps| !matches!(steps.first(), Some(Step::Index(_))));
    match entity {
        Entity::Nodes => prop_oneof![
            Just(Field::Certname),
            Just(Field::Connected),
            Just(Field::Broker),
            Just(Field::FactsTime),
            Just(Field::Retired(Retirement::Expired)),
        ]
        .boxed(),
        Entity::Inventory => {
            prop_oneof![Just(Field::Certname), steps.clone().prop_map(Field::Facts), steps.prop_map(Field::Trusted),]
                .boxed()
        }
        Entity::Facts => prop_oneof![Just(Field::Certname), Just(Field::Name), Just(Field::Value)].boxed(),
    }
}

fn conditions(entity: Entity) -> BoxedStrategy<Filter> {
    let comparisons = prop_oneof![Just(Comparison::Less), Just(Comparison::GreaterOrEqual)];
    let numbers = literals().prop_filter("a number", |value| matches!(value, Literal::Integer(_) | Literal::Float(_)));
    let list = prop::collection::vec(literals(), 0..4).prop_map(|literals| {
        let mut list = List::default();
        literals.into_iter().for_each(|literal| list.push(literal));
        list
    });
    prop_oneof![
        (fields(entity), literals()).prop_map(|(field, value)| Filter::Equals { field, value }),
        (fields(entity).prop_filter("no time", |field| !field.is_time()), comparisons, numbers)
            .prop_map(|(field, comparison, value)| Filter::Compares { field, comparison, value }),
        (fields(entity), patterns()).prop_map(|(field, pattern)| Filter::Matches { field, pattern }),
        (fields(entity), any::<bool>()).prop_map(|(field, null)| Filter::IsNull { field, null }),
        (fields(entity), list).prop_map(|(field, list)| Filter::InList { field, list }),
    ]
    .boxed()
}

fn filters(entity: Entity) -> BoxedStrategy<Filter> {
    let leaf = prop_oneof![
        4 => conditions(entity),
        1 => (fields(entity), conditions(Entity::Facts)).prop_map(|(field, filter)| Filter::InRows {
            fields: vec![field],
            rows: Box::new(query_of(Entity::Facts, vec![Field::Value], Some(filter))),
        }),
        1 => conditions(Entity::Inventory)
            .prop_map(|filter| Filter::Related(Box::new(query_of(Entity::Inventory, vec![], Some(filter))))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Filter::All),
            several.prop_map(Filter::Any),
            inner.prop_map(Filter::negated),
        ]
    })
    .boxed()
}

fn query_of(entity: Entity, columns: Vec<Field>, filter: Option<Filter>) -> Query {
    Query { entity, columns, filter, order: vec![], limit: None, offset: 0 }
}

fn queries() -> impl Strategy<Value = Query> {
    let entities = prop_oneof![Just(Entity::Nodes), Just(Entity::Inventory), Just(Entity::Facts)];
    entities.prop_flat_map(|entity| {
        let order = (fields(entity), any::<bool>()).prop_map(|(field, descending)| Order { field, descending });
        let order = prop::collection::vec(order, 0..3);
        let limit = prop::option::of(0_u64..100);
        (prop::option::of(filters(entity)), any::<bool>(), order, limit, 0_u64..5).prop_map(
            move |(filter, named, order, limit, offset)| {
                let columns = if named { vec![Field::Certname] } else { vec![] };
                Query { entity, columns, filter, order, limit, offset }
            },
        )
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(query in queries()) {
        let text = print::pql(&query);
        prop_assert_eq!(Query::parse(&text.as_str().into()), Ok(query.clone()), "{}", text);
        let tree = print::ast(&query);
        prop_assert_eq!(Query::parse(&tree), Ok(query), "{}", tree);
    }

    #[test]
    fn both_forms_choose_the_same(query in queries()) {
        let fleet = Fleet::new();
        let text = fleet.ask(&print::pql(&query).into());
        prop_assert_eq!(text, fleet.ask(&print::ast(&query)));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        let _ = Fleet::new().ask(&text.into());
    }

    #[test]
    fn a_damaged_query_is_read_or_refused(query in queries(), at in any::<prop::sample::Index>(), put in "[{}\\[\\]()!~=<>\"',.a-z0-9 ]{0,3}") {
        let mut text: Vec<char> = print::pql(&query).chars().collect();
        let at = at.index(text.len());
        text.splice(at..at + 1, put.chars());
        let text: String = text.into_iter().collect();
        if let Ok(read) = Query::parse(&text.as_str().into()) {
            prop_assert_eq!(Query::parse(&print::pql(&read).into()), Ok(read));
        }
    }
}
