"""Shapes of chat answers to "complete this function": how models wrap what is right.

Every function doubles the sum of its numbers, or its number. @@ stands for the factor: with 2 an
answer is right, with 3 the same answer is wrong.
"""

from evaluate.chat_shapes_scripts import (
    GO,
    GO_SHAPES,
    JS,
    JS_SHAPES,
    PHP,
    PHP_SHAPES,
    RS,
    RS_SHAPES,
    SH,
    SH_SHAPES,
    TS,
    TS_SHAPES,
)

JAVA = (
    "import java.util.*;\nclass Problem {\n    // twice the sum\n"
    "    public static long twice(ArrayList<Long> xs) {\n",
    "    }\n    public static void main(String[] args) {\n"
    "    assert(twice(new ArrayList<Long>(Arrays.asList(1l, 2l))) == 6l);\n    }\n\n}\n",
)
JAVA_SHAPES = {
    "a record and a private helper": """Here you go:
```java
import java.util.ArrayList;
import java.util.function.LongUnaryOperator;

class Problem {
    private record Pair(long a, long b) {}

    public static long twice(ArrayList<Long> xs) {
        Pair p = new Pair(sum(xs), @@);
        LongUnaryOperator f = v -> v * p.b();
        return f.applyAsLong(p.a());
    }

    private static long sum(ArrayList<Long> xs) {
        return xs.stream().mapToLong(Long::longValue).sum();
    }
}
```
It is O(n).""",
    "class Solution with an instance method": """```java
public class Solution {
    private long factor = @@;
    public long twice(ArrayList<Long> xs) {
        long sum = 0;
        for (long x : xs) { sum += x; }
        return factor * sum;
    }
}
```""",
    "a whole file with package and main": """```java
package com.example;

import java.util.*;

public class Main {
    static final String BRACE = "}";

    public static long twice(ArrayList<Long> numbers) {
        long total = 0L; // {
        for (Long number : numbers) {
            total += number;
        }
        return Main.scaled(total);
    }

    static long scaled(long v) { return v * @@; }

    public static void main(String[] args) {
        System.out.println(twice(new ArrayList<>(List.of(1L, 2L))));
        System.exit(0);
    }
}
```""",
    "the body and two braces": """```java
        long sum = 0;
        for (Long x : xs) {
            sum += x;
        }
        return sum * @@;
    }
}
```""",
    "a helper class beside it": """```java
class Adder {
    long total = 0;
    void add(long v) { total += v; }
}

class Problem {
    public static long twice(ArrayList<Long> xs) {
        Adder adder = new Adder();
        xs.forEach(adder::add);
        return adder.total * @@;
    }
}
```""",
    "an annotation and a comment with braces": """```java
/**
 * Twice {@code }.
 */
@SuppressWarnings("unchecked")
public static long twice(ArrayList<Long> xs)
{
    char c = '}';
    long sum = c - c;
    for (int i = 0; i < xs.size(); i++)
    {
        sum += xs.get(i);
    }
    return sum * @@;
}
```""",
    "two blocks: a helper, then the method": """First a helper:

```java
static long add(long a, long b) {
    return a + b;
}
```

Then:

```java
public static long twice(ArrayList<Long> xs) {
    long sum = 0;
    for (long x : xs) sum = add(sum, x);
    return @@ * sum;
}
```""",
    "no fence": """public static long twice(ArrayList<Long> xs) {
    long sum = 0;
    for (long x : xs) {
        sum += x;
    }
    return @@ * sum;
}

This adds all numbers and doubles the sum.""",
}

CS = (
    "using System;\nusing System.Linq;\nclass Problem {\n    // twice n\n"
    "    public static long Twice(long n) {\n",
    "    }\n    public static void Main(string[] args) {\n"
    '    if (Twice(2L) != 4L) throw new Exception("Fail");\n    }\n\n}\n',
)
CS_SHAPES = {
    "a namespace": """```csharp
using System.Collections.Generic;

namespace Answers
{
    public static class Maths
    {
        private static readonly List<long> Factors = new List<long> { @@ };

        public static long Twice(long n)
        {
            return n * Factors[0];
        }
    }
}
```""",
    "an expression body": "```cs\npublic static long Twice(long n) => @@ * n;\n```",
    "a whole program": """```csharp
using System;

public class Program
{
    public static long Twice(long n)
    {
        var text = @"a ""quoted"" }";
        return Helper(n) + text.Length - text.Length;
    }

    private static long Helper(long n) { return @@ * n; }

    public static void Main(string[] args)
    {
        Console.WriteLine(Twice(3));
    }
}
```""",
    "instance methods": """```csharp
class Solution {
    public long Twice(long n) {
        return Times(n, @@);
    }
    long Times(long n, long k) { return n * k; }
}
```""",
    "a body with an inner block": """```csharp
        if (n == 0) {
            return 0;
        }
        return @@ * n;
    }
}
```""",
    "a main in a class of its own": """```csharp
class Problem {
    public static long Twice(long n) {
        return @@ * n;
    }
}

class Program {
    static void Main() {
        Console.WriteLine(Problem.Twice(1));
    }
}
```""",
    "regions": "```csharp\n#region answer\npublic static long Twice(long n)\n{\n"
    "    return @@ * n;\n}\n#endregion\n```",
}

CPP = (
    "#include<assert.h>\n#include<bits/stdc++.h>\n// doubles\nlong twice(std::vector<long> xs) {\n",
    "}\nint main() {\n    auto candidate = twice;\n    assert(candidate({1, 2}) == 6);\n}\n",
)
CPP_SHAPES = {
    "a class Solution": "```cpp\n#include <vector>\nusing namespace std;\n\nclass Solution {\n"
    "public:\n    long twice(vector<long> xs) {\n        long sum = 0;\n"
    "        for (long x : xs) sum += x;\n"
    "        return @@ * sum;\n    }\n};\n```",
    "a template helper and a main": """```cpp
#include <iostream>
#include <vector>

template <typename T>
T add(const T& a, const T& b) {
    return a + b;
}

long twice(std::vector<long> xs) {
    long sum = 0;
    for (const auto& x : xs) sum = add(sum, x);
    return @@ * sum;
}

int main() {
    std::vector<long> v{1, 2};
    std::cout << twice(v) << "}\\n";
    return 0;
}
```""",
    "helpers after it, declared before": """```c++
static long add(long a, long b);

long twice(std::vector<long> xs) {
    long s = 0;
    for (long x : xs) s = add(s, x);
    return s * @@;
}

static long add(long a, long b) {
    return a + b;
}
```""",
    "a struct, a constant and a macro": """```cpp
#define FACTOR (@@)
const long ZERO = 0'0;
struct Sum {
    long value = ZERO;
    void operator()(long x) { value += x; }
};

long twice(std::vector<long> xs) {
    Sum s = std::for_each(xs.begin(), xs.end(), Sum());
    return s.value * FACTOR;
}
```""",
    "a const reference": """```cpp
long twice(const std::vector<long>& xs)
{
    return std::accumulate(xs.begin(), xs.end(), 0L) * @@;
}
```""",
    "a raw string and a lambda": """```cpp
using namespace std;
long twice(vector<long> xs) {
    const char* text = R"x(}")x";
    auto f = [&](long k) { long s = 0; for (long v : xs) { s += v; } return s * k; };
    return f(@@) + (text[0] == '}' ? 0 : 1);
}
```""",
    "body, not indented": """```cpp
long sum = 0;
for (long x : xs) { sum += x; }
return @@ * sum;
```""",
    "a draft, then the right one": """I would start with
```cpp
long twice(std::vector<long> xs) {
    return 0;
}
```
but that is wrong. The right one:
```cpp
long twice(std::vector<long> xs) {
    long sum = 0;
    for (auto x : xs) sum += x;
    return sum * @@;
}
```""",
    "an explanation that quotes it": """```cpp
long twice(std::vector<long> xs) {
    long sum = 0;
    for (auto x : xs) sum += x;
    return sum * @@;
}
```
Step by step:
```cpp
long twice(std::vector<long> xs) {
    long sum = 0;
```
starts at nothing.""",
}

SHAPES = {
    "java": (*JAVA, JAVA_SHAPES),
    "cs": (*CS, CS_SHAPES),
    "cpp": (*CPP, CPP_SHAPES),
    "js": (*JS, JS_SHAPES),
    "ts": (*TS, TS_SHAPES),
    "php": (*PHP, PHP_SHAPES),
    "sh": (*SH, SH_SHAPES),
    "go": (*GO, GO_SHAPES),
    "rs": (*RS, RS_SHAPES),
}
"""By language: prompt, tests, answers by their shape."""
