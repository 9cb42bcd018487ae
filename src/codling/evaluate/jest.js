// What tests written for Jest use, in small: describe, test, hooks, expect and its matchers.
//
// Put before a file of tests; `finish()` at its end runs them one after the other, and throws the first failure. Skipped variants (xtest, xdescribe) run too.
"use strict";
const { inspect } = require("util");
const { is, getPrototypeOf, keys: namesOf } = Object;
const { ownKeys } = Reflect;
const { toString, propertyIsEnumerable: isEnumerable, hasOwnProperty: owns } = Object.prototype;

class Failure extends Error {}
const suites = [{ name: "", before: [], after: [], all: [] }];
const tests = [];

function describe(name, body) {
  suites.push({ name, before: [], after: [], all: [] });
  body();
  suites.pop();
}
function test(name, body) {
  const around = [...suites];
  tests.push({ name: [...around.map((each) => each.name), name].filter(Boolean).join(" > "), body, around });
}
const hook = (kind) => (body) => suites[suites.length - 1][kind].push({ body, done: false });
const beforeEach = hook("before"), afterEach = hook("after"), beforeAll = hook("all"), afterAll = () => {};
test.skip = () => {};
const it = test, xtest = test, xit = test, xdescribe = describe;
test.only = test;
const each = (make) => (rows) => (name, body) =>
  rows.forEach((row) => make(name, () => (Array.isArray(row) ? body(...row) : body(row))));
test.each = each(test);
describe.each = each(describe);
describe.skip = () => {};

function same(a, b, strict) {
  if (is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (toString.call(a) !== toString.call(b)) return false;
  if (strict && getPrototypeOf(a) !== getPrototypeOf(b)) return false;
  if (a instanceof Date || a instanceof RegExp) return String(a) === String(b) && +a === +b;
  if (a instanceof Error) return a.message === b.message;
  if (a instanceof Map || a instanceof Set) {
    const [x, y] = [[...a], [...b]];
    return x.length === y.length && x.every((each) => y.some((other) => same(each, other, strict)));
  }
  if (Array.isArray(a) && a.length !== b.length) return false;
  const keys = (o) => ownKeys(o).filter((k) => isEnumerable.call(o, k) && (strict || o[k] !== undefined));
  const names = keys(a);
  return names.length === keys(b).length && names.every((k) => owns.call(b, k) && same(a[k], b[k], strict));
}

function throws(got, wanted) {
  let error;
  try {
    got();
    return false;
  } catch (thrown) {
    error = thrown;
  }
  return matches(error, wanted);
}
function matches(error, wanted) {
  const said = error instanceof Error || (error && typeof error.message === "string") ? error.message : String(error);
  if (wanted === undefined) return true;
  if (typeof wanted === "string") return said.includes(wanted);
  if (wanted instanceof RegExp) return wanted.test(said);
  return typeof wanted === "function" ? error instanceof wanted : said === wanted.message;
}

const MATCHERS = {
  toBe: is,
  toEqual: (a, b) => same(a, b, false),
  toStrictEqual: (a, b) => same(a, b, true),
  toBeCloseTo: (a, b, digits = 2) => a === b || Math.abs(a - b) < 10 ** -digits / 2,
  toBeDefined: (a) => a !== undefined,
  toBeUndefined: (a) => a === undefined,
  toBeNull: (a) => a === null,
  toBeNaN: (a) => Number.isNaN(a),
  toBeTruthy: (a) => !!a,
  toBeFalsy: (a) => !a,
  toBeInstanceOf: (a, b) => a instanceof b,
  toBeGreaterThan: (a, b) => a > b,
  toBeGreaterThanOrEqual: (a, b) => a >= b,
  toBeLessThan: (a, b) => a < b,
  toBeLessThanOrEqual: (a, b) => a <= b,
  toMatch: (a, b) => (typeof b === "string" ? a.includes(b) : b.test(a)),
  toContain: (a, b) => (typeof a === "string" ? a.includes(b) : [...a].includes(b)),
  toContainEqual: (a, b) => [...a].some((each) => same(each, b, false)),
  toHaveLength: (a, b) => a.length === b,
  toHaveProperty: (a, b, ...value) => b in Object(a) && (!value.length || same(a[b], value[0], false)),
  toThrow: throws,
  toThrowError: throws,
};

function expect(got) {
  const judge = (name, negated) => (...wanted) => {
    if (MATCHERS[name](got, ...wanted) === negated)
      throw new Failure(`expect(${inspect(got)})${negated ? ".not" : ""}.${name}(${wanted.map((w) => inspect(w)).join(", ")})`);
  };
  const settled = (kept) => async () => {
    const [ok, value] = await Promise.resolve(typeof got === "function" ? got() : got).then((v) => [true, v], (e) => [false, e]);
    if (ok !== kept) throw new Failure(`promise ${ok ? "resolved" : "rejected"} with ${inspect(value)}`);
    return value;
  };
  const later = (kept, negated) => {
    const found = {};
    for (const name of namesOf(MATCHERS))
      found[name] = async (...wanted) => {
        const value = await settled(kept)();
        const subject = !kept && name.startsWith("toThrow") ? () => { throw value; } : value;
        const side = expect(subject);
        return (negated ? side.not : side)[name](...wanted);
      };
    return found;
  };
  const found = { not: {}, resolves: later(true, false), rejects: later(false, false) };
  found.resolves.not = later(true, true);
  found.rejects.not = later(false, true);
  for (const name of namesOf(MATCHERS)) {
    found[name] = judge(name, false);
    found.not[name] = judge(name, true);
  }
  return found;
}

const call = (body) => (body.length ? new Promise((ok, no) => body((error) => (error ? no(error) : ok()))) : body());
async function finish() {
  if (!tests.length) throw new Failure("no tests");
  for (const each of tests) {
    try {
      for (const suite of each.around)
        for (const once of suite.all.filter((h) => !h.done)) (once.done = true), await call(once.body);
      for (const suite of each.around) for (const h of suite.before) await call(h.body);
      await call(each.body);
      for (const suite of [...each.around].reverse()) for (const h of suite.after) await call(h.body);
    } catch (error) {
      throw new Failure(`${each.name}: ${error && error.message ? error.message : error}`);
    }
  }
}
