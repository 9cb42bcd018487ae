"""Shapes of chat answers in six more languages (see chat_shapes.py)."""

JS = (
    "//doubles\n// >>> twice(2)\n// 4\nfunction twice(n){\n",
    "const assert = require('node:assert');\nfunction test() { assert.deepEqual(twice(2), 4); }\n"
    "test();",
)
JS_SHAPES = {
    "a class Solution": "```js\nclass Solution {\n  constructor() { this.f = @@; }\n"
    "  twice(n) {\n    return this.f * n;\n  }\n}\n```",
    "a static method": "```js\nclass Doubler { static twice(n) { return n * @@; } }\n```",
    "an arrow function": "```javascript\nconst twice = (n) => n * @@;\n```",
    "exported, with a test of its own": """```js
const assert = require('assert');

function twice(n) {
  return n * @@;
}

function test() {
  assert.strictEqual(twice(2), 4);
}

test();
module.exports = { twice };
```""",
    "import syntax": """```js
import { EOL } from 'os';

export function twice(n) {
  const brace = `}${EOL.length ? `{` : ''}`;
  return brace.length ? n * @@ : 0;
}

export default twice;
```""",
    "a regular expression with braces": """```js
function twice(n) {
  if (/[}/]{1,2}/.test(String(n))) {
    return 0;
  }
  return n * @@;
}
console.log(`twice: ${twice(2)}`);
```""",
    "helpers after it without semicolons": """```js
function twice(n) {
  return times(n, FACTOR)
}

const FACTOR = @@

const times = (a, b) =>
  a * b

for (const n of [1, 2]) {
  console.log(twice(n))
}
```""",
    "the body and its brace": "```js\n  const k = @@;\n  return n * k;\n}\n```",
    "the body alone": "```js\n  if (n === 0) {\n    return 0;\n  }\n  return n * @@;\n```",
    "a class that does it": """```js
class Doubler {
  static run(n) { return n * @@; }
}
function twice(n) { return Doubler.run(n); }
if (require.main === module) {
  console.log(twice(4));
}
```""",
    "bash before it": "```bash\nnode twice.js\n```\n\n"
    "```js\nfunction twice(n) { return n * @@; }\n```",
}

TS = (
    "//doubles\n// >>> twice(2)\n// 4\nfunction twice(n: number): number {\n",
    "declare var require: any;\nconst assert = require('node:assert');\n"
    "function test() { assert.deepEqual(twice(2), 4); }\ntest();",
)
TS_SHAPES = {
    "a class Solution": "```ts\nexport class Solution {\n  twice(n: number): number {\n"
    "    return n * @@;\n  }\n}\n```",
    "types and an interface": """```typescript
interface Factor { value: number }
type Numbers = number[];

export function twice(n: number): number {
  const f: Factor = { value: @@ };
  const ns: Numbers = [n];
  return ns[0] * f.value;
}

console.log(twice(2));
```""",
    "a generic helper": """```ts
const id = <T>(x: T): T => x;

function twice(n: number): number {
  return id<number>(n) * @@;
}
```""",
    "an arrow function with a type": "```ts\nconst twice = (n: number): number => {\n"
    "  return n * @@;\n};\n```",
    "an enum": "```ts\nenum K { Factor = @@ }\nfunction twice(n: number): number {\n"
    "  return n * K.Factor;\n}\n```",
    "the body": "```typescript\n  return n * @@;\n}\n```",
}

PHP = (
    "<?php\n// doubles\nfunction twice($n) {\n",
    "function candidate(...$args) {\n    return twice(...$args);\n}\n\nfunction test(): void {\n"
    '    if (candidate(2) !== 4) { throw new Exception("Test failed!"); }\n}\n\ntest();',
)
PHP_SHAPES = {
    "a class Solution": "```php\nclass Solution {\n    public function twice($n) {\n"
    "        return $n * @@;\n    }\n}\n```",
    "a whole file": """```php
<?php
declare(strict_types=1);

function twice(int $n): int {
    $text = "}{$n}";
    return $n * factor();
}

function factor(): int { return @@; }

echo twice(2) . PHP_EOL;
?>
```""",
    "without the opening tag": "```php\nfunction twice($n) {\n    return $n * @@; # }\n}\n```",
    "a constant and a class": """```php
<?php
const FACTOR = @@;
final class Doubler {
    public static function run(int $n): int { return $n * FACTOR; }
}
function twice($n) {
    return Doubler::run($n);
}
var_dump(twice(3));
```""",
    "the body": "```php\n    return $n * @@;\n}\n```",
    "an own test": "```php\nfunction twice($n) {\n    return $n * @@;\n}\n"
    "function test() { assert(twice(1) === 2); }\ntest();\n```",
}

SH = (
    "#!/bin/bash\n# doubles\n#\n# $1 is an integer\ntwice() {\n",
    '}\n\ncandidate() {\n    twice "$@"\n}\n\nset -e\nrun_test() {\n'
    '    [[ $(candidate "2") = "4" ]]\n}\n\nrun_test',
)
SH_SHAPES = {
    "a whole script": """```bash
#!/bin/bash
set -euo pipefail

FACTOR=@@

times() {
    echo $(( $1 * $2 ))
}

twice() {
    times "$1" "$FACTOR"
}

if [ $# -eq 0 ]; then
    echo "usage" >&2
    exit 1
fi
twice "$1"
```""",
    "function keyword": '```sh\nfunction twice {\n    echo "$(( $1 * @@ ))"\n}\ntwice 2\n```',
    "one line": '```bash\ntwice() { echo "$(( $1 * @@ ))"; }\n```',
    "the body": "```bash\n    local n=$1\n    echo $((n * @@))\n}\n```",
    "an example after it": "```bash\ntwice() {\n    local n=$1\n    echo $((n * @@))\n}\n\n"
    'result=$(twice 4)\necho "$result"\nexit 0\n```',
    "a list over lines": "```bash\nFACTORS=(\n    1\n    @@\n)\ntwice() {\n"
    "    echo $(( $1 * ${FACTORS[1]} ))\n}\n```",
}

GO = (
    'package twice_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\n// doubles\n'
    "func twice(n int) int {\n",
    "func TestTwice(t *testing.T) {\n  if twice(2) != 4 {\n"
    '    t.Errorf("got %s", fmt.Sprintf("%v", twice(2)))\n  }\n}\n',
)
GO_SHAPES = {
    "a whole program": """```go
package main

import (
	"fmt"
	"os"
	"strconv"
	str "strings"
)

// twice doubles.
func twice(n int) int {
	v, _ := strconv.Atoi(str.TrimSpace(strconv.Itoa(n)))
	return v * factor
}

const factor = @@

func main() {
	fmt.Fprintln(os.Stdout, twice(2))
}
```""",
    "a type and a helper": """```golang
type adder struct{ k int }

func (a adder) run(n int) int {
	return n * a.k
}

func twice(n int) int {
	r := '}'
	return adder{k: @@}.run(n) + int(r) - '}'
}
```""",
    "the body": "```go\n\tif n == 0 {\n\t\treturn 0\n\t}\n\treturn n * @@\n}\n```",
}

RS = (
    "/// doubles\nfn twice(n: isize) -> isize {\n",
    "}\n\nfn main() {\n    let candidate = twice;\n    assert_eq!(candidate(2), 4);\n}\n",
)
RS_SHAPES = {
    "uses, tests and a main": """```rust
#![allow(dead_code)]
use std::collections::HashMap;

pub fn twice(n: isize) -> isize {
    let mut m: HashMap<char, isize> = HashMap::new();
    m.insert('{', @@);
    n * factor(&m)
}

fn factor<'a>(m: &'a HashMap<char, isize>) -> isize {
    m[&'{']
}

fn main() {
    println!("{}", twice(2));
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn works() { assert_eq!(twice(2), 4); }
}
```""",
    "a struct and an impl": """```rust
#[derive(Debug)]
struct Factor(isize);
impl Factor {
    fn times(&self, n: isize) -> isize { n * self.0 }
}
fn twice(n: isize) -> isize {
    Factor(@@).times(n)
}
```""",
    "the body": "```rust\n    let k = @@;\n    n * k\n}\n```",
}
