//! Expressions as GitHub documents them ("Evaluate expressions in workflows and actions"), and their limits.

use std::cell::RefCell;

use workflow::expression::{
    Environment, Error, Expression, Function, Kind, NoEnvironment, Object, Options, Scope, Status, Value,
    evaluate,
};

const SCOPE: Scope = Scope {
    contexts: &["github", "env", "fruits"],
    functions: &[
        Function::new("success", 0, usize::MAX),
        Function::new("failure", 0, usize::MAX),
        Function::new("always", 0, 0),
        Function::new("cancelled", 0, 0),
        Function::new("hashFiles", 1, 255),
    ],
};

/// A job that was cancelled, with files whose hash is their patterns.
#[derive(Default)]
struct Cancelled(RefCell<Vec<String>>);

impl Environment for Cancelled {
    fn status(&self, asked: Status, of: &[Value]) -> Result<bool, String> {
        self.0.borrow_mut().push(format!("{asked:?} {}", of.len()));
        Ok(matches!(asked, Status::Always | Status::Cancelled))
    }

    fn hash_files(&self, patterns: &[String]) -> Result<String, String> {
        Ok(patterns.join("+"))
    }
}

fn contexts() -> Object {
    let fruit = |name: &str, quantity: f64| {
        Value::object([("name", Value::text(name)), ("quantity", Value::Number(quantity))])
    };
    let mut contexts = Object::default();
    let event = Value::object([
        (
            "issue",
            Value::object([("labels", Value::array(vec![Value::object([("name", Value::text("bug"))])]))]),
        ),
        ("number", Value::Number(7.0)),
    ]);
    contexts.insert("github", Value::object([("ref", Value::text("refs/heads/main")), ("event", event)]));
    contexts
        .insert("fruits", Value::array(vec![fruit("apple", 1.0), fruit("orange", 2.0), fruit("pear", 1.0)]));
    contexts
}

fn value(text: &str) -> Result<Value, Error> {
    let expression = Expression::parse(text, &SCOPE)?;
    evaluate(&expression, &contexts(), &Cancelled::default(), Options::default())
}

#[test]
fn values_are_as_documented() {
    for (text, wanted) in [
        // Literals.
        ("711", "711"),
        ("-9.2", "-9.2"),
        ("0xff", "255"),
        ("-2.99e-2", "-0.0299"),
        ("'It''s open source! It''s free'", "It's open source! It's free"),
        ("null", ""),
        // Contexts, without case, and what they do not have.
        ("GitHub.REF", "refs/heads/main"),
        ("github['event'].number", "7"),
        ("github.nothing.at.all", ""),
        ("github.event.issue", "Object"),
        // `&&` and `||` give an operand.
        ("github.ref == 'refs/heads/main' && 'value_for_main' || 'other'", "value_for_main"),
        ("'' || 0 || 'last'", "last"),
        ("1 && 0 && 'x'", "0"),
        // Functions.
        ("contains('Hello world', 'LLO')", "true"),
        ("contains(github.event.issue.labels.*.name, 'BUG')", "true"),
        ("contains(fromJSON('[\"push\", \"pull_request\"]'), 'push')", "true"),
        ("startsWith('Hello world', 'He')", "true"),
        ("endsWith('Hello world', 'ld')", "true"),
        ("format('Hello {0} {1} {2}', 'Mona', 'the', 'Octocat')", "Hello Mona the Octocat"),
        ("format('{{Hello {0} {1} {2}!}}', 'Mona', 'the', 'Octocat')", "{Hello Mona the Octocat!}"),
        ("join(fruits.*.name, ', ')", "apple, orange, pear"),
        ("join(fruits.*.quantity)", "1,2,1"),
        ("fromJSON('{\"a\": [1, {\"b\": \"c\"}]}').a[1].b", "c"),
        ("toJSON(fruits[0].name)", "\"apple\""),
        ("hashFiles('**/package-lock.json', '**/Gemfile.lock')", "**/package-lock.json+**/Gemfile.lock"),
        ("case(github.ref == 'x', 'x', true, 'main', 'none')", "main"),
        // What is not reached is not computed.
        ("case(true, 'fine', fromJSON(''))", "fine"),
        ("true || fromJSON('')", "true"),
        ("always() && !success()", "true"),
        ("cancelled()", "true"),
        // Comparison: null and true are numbers, texts have no case, what is no number is nothing.
        ("null == 0 && true == 1 && '' == 0", "true"),
        ("'ABC' == 'abc'", "true"),
        ("'abc' < 'B'", "true"),
        ("'x' == 0 || 'x' < 0 || 'x' > 0 || NaN == NaN", "false"),
        ("fruits == fruits && fruits[0] == fruits[0]", "true"),
        ("fromJSON('[]') == fromJSON('[]')", "false"),
        // White space of every kind.
        ("1\u{a0}==\n1", "true"),
    ] {
        let found = value(text).map(|value| value.as_text().to_string());
        assert_eq!(found.as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, kind, wanted) in [
        (
            "secrets.x",
            Kind::Parsing,
            "Unrecognized named-value: 'secrets'. Located at position 1 within expression: secrets.x",
        ),
        ("1 == nope()", Kind::Parsing, "Unrecognized function: 'nope'. Located at position 6"),
        ("'😀' && x", Kind::Parsing, "Unrecognized named-value: 'x'. Located at position 9"),
        ("contains('a')", Kind::Parsing, "Too few parameters supplied: 'contains'"),
        ("always(1)", Kind::Parsing, "Too many parameters supplied: 'always'"),
        ("join('a',)", Kind::Parsing, "Unexpected symbol: ')'"),
        ("'a'.b", Kind::Lexing, "Unexpected symbol: '.b'"),
        ("toJSON(github", Kind::Parsing, "Unexpected end of expression: 'github'"),
        ("github[1", Kind::Parsing, "Unexpected end of expression: '1'"),
        ("github.", Kind::Parsing, "Unexpected end of expression: '.'"),
        ("\"double\"", Kind::Lexing, "Unexpected symbol: '\"double\"'"),
        ("1e", Kind::Lexing, "Unexpected symbol: '1e'"),
        ("True", Kind::Parsing, "Unrecognized named-value: 'True'"),
        ("fromJSON('')", Kind::Evaluation, "empty input"),
        ("fromJSON('{')", Kind::Evaluation, "Error parsing JSON when evaluating fromJson"),
        ("format('{1}', 'a')", Kind::Evaluation, "The following format string references more arguments"),
        ("format('{99999999999999999999}', 'a')", Kind::Evaluation, "The following format string references"),
    ] {
        let found = value(text).expect_err(text);
        assert_eq!(found.kind, kind, "{text}: {found}");
        assert!(found.to_string().starts_with(wanted), "{text}: {found}");
    }
    let expression = Expression::parse("success() && hashFiles('x')", &SCOPE).unwrap();
    let found = evaluate(&expression, &contexts(), &NoEnvironment, Options::default());
    assert_eq!(found.unwrap_err().message, "how it went so far is not known here");
}

#[test]
fn limits_hold_whatever_is_written() {
    let nested = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(value(&nested(49)).is_ok());
    for (text, wanted) in [
        (nested(50), "Exceeded max expression depth 50"),
        (nested(10_000), "Exceeded max expression depth 50"),
        ("!".repeat(20_000), "Exceeded max expression depth 50"),
        ("x".repeat(21_001), "Exceeded max expression length 21000"),
    ] {
        let found = value(&text).expect_err(wanted);
        assert_eq!(found.message, wanted);
    }
    // Rows of operators are no deeper than one, however long.
    for (operand, operator) in [("1", "=="), ("1", "<"), ("0", "||"), ("1", "&&")] {
        let row = vec![operand; 21_000 / (operand.len() + operator.len())].join(operator);
        assert!(value(&row).is_ok(), "{operator}");
    }
    let tenfold = "format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', ";
    let bomb = |levels: usize| format!("{}'0123456789'{}", tenfold.repeat(levels), ")".repeat(levels));
    assert!(value(&bomb(3)).is_ok());
    assert_eq!(value(&bomb(30)).unwrap_err().message, "The maximum allowed memory size was exceeded");
    let doubled = "toJSON(".repeat(24) + "'\"\"\"\"\"\"'" + &")".repeat(24);
    assert_eq!(value(&doubled).unwrap_err().message, "The maximum allowed memory size was exceeded");
}

#[test]
fn a_condition_knows_whether_it_asks_how_it_went() {
    let asks = |text: &str| Expression::parse(text, &SCOPE).unwrap().asks_for_status();
    assert!(
        asks("!cancelled()")
            && asks("github.ref == 'x' || (1 == 1 && FAILURE())")
            && asks("github[always()]")
    );
    assert!(!asks("github.success") && !asks("'always()'"));
    assert_eq!(Expression::parse("'{{'", &SCOPE).unwrap().literal_text(), Some("{{"));
    assert_eq!(Expression::parse(" github.ref ", &SCOPE).unwrap().text(), "github.ref");
}
