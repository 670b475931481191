//! All changes in one program: each change becomes a branch that is taken when the program is
//! started with its number, so that thousands of changes are compiled once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context, Result};
use syn::visit::{self, Visit};
use syn::{Arm, Block, Expr, ExprBinary, ExprRepeat, ExprUnary, ImplItemFn, ItemFn, Signature};
use syn::{ReturnType, Type, spanned::Spanned};

use super::{Genre, Mutant};

/// The number of a change: its place in the list, from 1.
pub(super) type Id = usize;

/// A source file with a branch for each change that can be a branch.
pub(super) struct Switched {
    pub(super) text: String,
    /// The numbers of the changes that have a branch.
    pub(super) ids: Vec<Id>,
}

/// A place in the file that some changes concern.
struct Site {
    range: Range<usize>,
    kind: Kind,
}

enum Kind {
    /// An operator between two operands: what it becomes.
    Binary {
        left: Range<usize>,
        operator: Range<usize>,
        right: Range<usize>,
        becomes: Vec<(Id, String)>,
    },
    /// An operator before its operand, which is left out.
    Unary { operand: Range<usize>, id: Id },
    /// The beginning of a function: what it returns at once.
    Body { returns: Vec<(Id, String)> },
    /// The guard of an arm: what it becomes, and the change that takes out the whole arm.
    Guard {
        becomes: Vec<(Id, String)>,
        arm: Option<Id>,
    },
    /// The word `const` before a function, which goes.
    Const,
    /// The end of a pattern without a guard: the change that takes out the arm.
    Pattern { arm: Id },
}

/// `text` with a branch for each of `mutants`; those that cannot be a branch, because the compiler
/// computes them or because they change what is no expression, are left out. The compiler needs the
/// functions called one of `constant`; others need not be `const`.
pub(super) fn switched(
    text: &str,
    mutants: &[(Id, &Mutant)],
    constant: &BTreeSet<String>,
) -> Result<Switched> {
    let file = syn::parse_file(text).context("not Rust")?;
    let lines = line_starts(text);
    let mut at: BTreeMap<(usize, Genre), Vec<(Id, String)>> = BTreeMap::new();
    for (id, mutant) in mutants {
        let start = mutant.span.start.offset(text, &lines);
        at.entry((start, mutant.genre))
            .or_default()
            .push((*id, mutant.replacement.clone()));
    }
    let mut finder = Finder {
        at,
        constant,
        sites: Vec::new(),
    };
    finder.visit_file(&file);
    let mut sites = finder.sites;
    sites.sort_by_key(|site| {
        (
            site.range.start,
            !site.range.is_empty(),
            usize::MAX - site.range.end,
        )
    });
    let mut ids: Vec<Id> = sites.iter().flat_map(Site::ids).collect();
    ids.sort_unstable();
    Ok(Switched {
        text: render(text, 0..text.len(), &sites),
        ids,
    })
}

/// The changes whose code, or around whose code, the bytes of `place` stand: the narrowest.
pub(super) fn concerned(text: &str, place: &Range<usize>) -> Vec<Id> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut narrowest: Option<(usize, &str)> = None;
    let mut from = 0;
    while let Some(found) = text[from..].find("/*<").map(|index| index + from) {
        let next_end = text[from..].find("/*>").map(|index| index + from);
        from = match next_end {
            Some(end) if end < found => {
                close(&mut open, end, place, &mut narrowest);
                end + 3
            }
            _ => {
                let ids = &text[found + 3..];
                open.push((found, ids.split("*/").next().unwrap_or_default()));
                found + 3
            }
        };
    }
    while let Some(end) = text[from..].find("/*>").map(|index| index + from) {
        close(&mut open, end, place, &mut narrowest);
        from = end + 3;
    }
    let ids = narrowest.map_or("", |(_, ids)| ids);
    ids.split(',').filter_map(|id| id.parse().ok()).collect()
}

fn close<'a>(
    open: &mut Vec<(usize, &'a str)>,
    end: usize,
    place: &Range<usize>,
    narrowest: &mut Option<(usize, &'a str)>,
) {
    let Some((start, ids)) = open.pop() else {
        return;
    };
    let holds = start <= place.start && place.end <= end;
    if holds && narrowest.is_none_or(|(length, _)| end - start < length) {
        *narrowest = Some((end - start, ids));
    }
}

impl Site {
    fn ids(&self) -> Vec<Id> {
        let of = |list: &[(Id, String)]| list.iter().map(|(id, _)| *id).collect();
        match &self.kind {
            Kind::Binary { becomes, .. } => of(becomes),
            Kind::Unary { id, .. } => vec![*id],
            Kind::Body { returns } => of(returns),
            Kind::Guard { becomes, arm } => {
                let mut ids: Vec<Id> = of(becomes);
                ids.extend(arm);
                ids
            }
            Kind::Pattern { arm } => vec![*arm],
            Kind::Const => Vec::new(),
        }
    }
}

/// The text of `range` with the sites in it written out; those inside of another are written out in
/// its unchanged branch alone, because one change is made at a time.
fn render(text: &str, range: Range<usize>, sites: &[Site]) -> String {
    let mut out = String::new();
    let mut from = range.start;
    for (index, site) in sites.iter().enumerate() {
        let begins = site.range.start;
        if begins < from || site.range.end > range.end {
            continue;
        }
        out.push_str(&text[from..begins]);
        let inner = |part: &Range<usize>| render(text, part.clone(), &sites[index + 1..]);
        out.push_str(&written(text, site, inner));
        from = site.range.end;
    }
    out.push_str(&text[from..range.end]);
    out
}

fn written(text: &str, site: &Site, inner: impl Fn(&Range<usize>) -> String) -> String {
    let marked = |id: Id, code: &str| format!("/*<{id}*/{code}/*>*/");
    let all: Vec<String> = site.ids().iter().map(Id::to_string).collect();
    let body = match &site.kind {
        Kind::Binary {
            left,
            operator,
            right,
            becomes,
        } => {
            let mut branches = String::new();
            for (id, replacement) in becomes {
                let (left, right) = (&text[left.clone()], &text[right.clone()]);
                let code = marked(*id, &format!("{left} {replacement} {right}"));
                branches.push_str(&format!("if crate::changed({id}) {{ {code} }} else "));
            }
            let (left, operator, right) = (inner(left), &text[operator.clone()], inner(right));
            format!("({branches}{{ {left} {operator} {right} }})")
        }
        Kind::Unary { operand, id } => {
            let operator = &text[site.range.start..operand.start];
            let changed = marked(*id, &text[operand.clone()]);
            let operand = inner(operand);
            format!("(if crate::changed({id}) {{ {changed} }} else {{ {operator}{operand} }})")
        }
        Kind::Body { returns } => {
            let mut out = String::new();
            for (id, replacement) in returns {
                let code = marked(*id, &format!("return {replacement};"));
                out.push_str(&format!("if crate::changed({id}) {{ {code} }} "));
            }
            out
        }
        Kind::Guard { becomes, arm } => {
            let mut out = inner(&site.range);
            for (id, value) in becomes {
                out = format!("(if crate::changed({id}) {{ {value} }} else {{ {out} }})");
            }
            match arm {
                Some(id) => format!("(!crate::changed({id}) && {out})"),
                None => out,
            }
        }
        Kind::Pattern { arm } => format!(" if !crate::changed({arm})"),
        Kind::Const => return String::new(),
    };
    format!("/*<{}*/{body}/*>*/", all.join(","))
}

/// Finds the place of each change in the syntax tree.
struct Finder<'a> {
    at: BTreeMap<(usize, Genre), Vec<(Id, String)>>,
    constant: &'a BTreeSet<String>,
    sites: Vec<Site>,
}

impl Finder<'_> {
    fn take(&mut self, start: usize, genre: Genre) -> Vec<(Id, String)> {
        self.at.remove(&(start, genre)).unwrap_or_default()
    }

    fn function(&mut self, signature: &Signature, block: &Block) -> bool {
        let opaque = matches!(&signature.output, ReturnType::Type(_, of) if matches!(**of, Type::ImplTrait(_)));
        if let Some(constness) = &signature.constness {
            if self.constant.contains(&signature.ident.to_string()) {
                return false;
            }
            self.sites.push(Site {
                range: constness.span().byte_range(),
                kind: Kind::Const,
            });
        }
        let Some(first) = block.stmts.first() else {
            return false;
        };
        let start = first.span().byte_range().start;
        let returns = self.take(start, Genre::FnValue);
        if !returns.is_empty() && !opaque {
            self.sites.push(Site {
                range: start..start,
                kind: Kind::Body { returns },
            });
        }
        true
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item_fn(&mut self, node: &'a ItemFn) {
        if self.function(&node.sig, &node.block) {
            visit::visit_block(self, &node.block);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'a ImplItemFn) {
        if self.function(&node.sig, &node.block) {
            visit::visit_block(self, &node.block);
        }
    }

    fn visit_trait_item_fn(&mut self, node: &'a syn::TraitItemFn) {
        if let Some(block) = &node.default
            && self.function(&node.sig, block)
        {
            visit::visit_block(self, block);
        }
    }

    // What the compiler computes cannot depend on how the program was started.
    fn visit_item_const(&mut self, _: &'a syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'a syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'a syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'a syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'a syn::ExprConst) {}
    fn visit_type(&mut self, _: &'a Type) {}
    fn visit_generic_argument(&mut self, _: &'a syn::GenericArgument) {}
    fn visit_expr_repeat(&mut self, node: &'a ExprRepeat) {
        self.visit_expr(&node.expr);
    }

    fn visit_expr_binary(&mut self, node: &'a ExprBinary) {
        let operator = node.op.span().byte_range();
        if !binds(&node.left) && !binds(&node.right) {
            let becomes = self.take(operator.start, Genre::BinaryOperator);
            if !becomes.is_empty() {
                self.sites.push(Site {
                    range: node.span().byte_range(),
                    kind: Kind::Binary {
                        left: node.left.span().byte_range(),
                        operator,
                        right: node.right.span().byte_range(),
                        becomes,
                    },
                });
            }
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'a ExprUnary) {
        let range = node.span().byte_range();
        if let [(id, _)] = self.take(range.start, Genre::UnaryOperator)[..] {
            self.sites.push(Site {
                range,
                kind: Kind::Unary {
                    operand: node.expr.span().byte_range(),
                    id,
                },
            });
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_arm(&mut self, node: &'a Arm) {
        let arm = self.take(node.span().byte_range().start, Genre::MatchArm);
        let arm = arm.first().map(|(id, _)| *id);
        if let Some((_, guard)) = &node.guard {
            let range = guard.span().byte_range();
            let becomes = self.take(range.start, Genre::MatchArmGuard);
            if arm.is_some() || !becomes.is_empty() {
                self.sites.push(Site {
                    range,
                    kind: Kind::Guard { becomes, arm },
                });
            }
        } else if let Some(arm) = arm {
            let end = node.pat.span().byte_range().end;
            self.sites.push(Site {
                range: end..end,
                kind: Kind::Pattern { arm },
            });
        }
        visit::visit_arm(self, node);
    }
}

/// Whether this part of a condition binds names for what follows: `if let A = b && c`.
fn binds(part: &Expr) -> bool {
    match part {
        Expr::Let(_) => true,
        Expr::Binary(of) => binds(&of.left) || binds(&of.right),
        _ => false,
    }
}

/// Where each line begins.
pub(super) fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.match_indices('\n').map(|(index, _)| index + 1);
    [0].into_iter().chain(breaks).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Position, Span};
    use super::*;

    fn mutant(genre: Genre, line: usize, columns: Range<usize>, replacement: &str) -> Mutant {
        Mutant {
            name: String::new(),
            file: String::new(),
            genre,
            replacement: replacement.into(),
            span: Span {
                start: Position {
                    line,
                    column: columns.start,
                },
                end: Position {
                    line,
                    column: columns.end,
                },
            },
        }
    }

    #[test]
    fn changes_inside_of_changes_are_branches_of_the_unchanged_one() {
        let text = "fn f(a: u8) -> u8 {\n    a + 2 * a\n}\n";
        let mutants = [
            mutant(Genre::FnValue, 2, 5..14, "0"),
            mutant(Genre::BinaryOperator, 2, 7..8, "-"),
            mutant(Genre::BinaryOperator, 2, 11..12, "/"),
        ];
        let numbered: Vec<(Id, &Mutant)> = (1..).zip(&mutants).collect();
        let constant = BTreeSet::new();
        let Switched { text, ids } = switched(text, &numbered, &constant).unwrap();
        assert_eq!(ids, [1, 2, 3]);
        let expected = "fn f(a: u8) -> u8 {\n    \
            /*<1*/if crate::changed(1) { /*<1*/return 0;/*>*/ } /*>*/\
            /*<2*/(if crate::changed(2) { /*<2*/a - 2 * a/*>*/ } else { a + \
            /*<3*/(if crate::changed(3) { /*<3*/2 / a/*>*/ } else { 2 * a })/*>*/ })/*>*/\n}\n";
        assert_eq!(text, expected);
        let place = text.find("2 / a").unwrap();
        assert_eq!(concerned(&text, &(place..place + 1)), [3]);
        let place = text.find("a + ").unwrap();
        assert_eq!(concerned(&text, &(place..place + 1)), [2]);
        assert!(concerned(&text, &(0..1)).is_empty());
    }

    #[test]
    fn what_the_compiler_computes_and_conditions_that_bind_are_no_branches() {
        let text = "const A: u8 = 1 + 2;\nfn f(a: Option<u8>) { if let Some(b) = a && b > 1 {} }\n\
            const fn g(a: u8) -> u8 { a + 1 }\n";
        let mutants = [
            mutant(Genre::BinaryOperator, 1, 17..18, "-"),
            mutant(Genre::BinaryOperator, 2, 42..44, "||"),
            mutant(Genre::BinaryOperator, 2, 47..48, "<"),
            mutant(Genre::BinaryOperator, 3, 29..30, "-"),
        ];
        let numbered: Vec<(Id, &Mutant)> = (1..).zip(&mutants).collect();
        let ids = |constant| switched(text, &numbered, &constant).unwrap().ids;
        assert_eq!(ids(BTreeSet::new()), [3, 4]);
        assert_eq!(ids(["g".to_owned()].into()), [3]);
    }
}
