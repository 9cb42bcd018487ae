<?php
// Runs main.php and gives back the key (descriptor 4 to 3) when it has come to its end. The key lives in a suspended
// generator, which no other code can reach, and in a line behind the program, which shows that its last line was reached:
// a return or a closing tag before the tests would end it as well. The program runs in the global scope, and its source is gone from the disk.
foreach ((function () {
    $write = fopen("php://fd/3", "w");
    $key = stream_get_contents(fopen("php://fd/4", "r"));
    yield $key;
    if (($GLOBALS["codling_last"] ?? "") === $key) fwrite($write, $key);
})() as $_) {
    eval((function () {
        $text = file_get_contents("main.php");
        unlink("main.php");
        $start = preg_match('/\?>\s*$/', $text) ? "<?php" : "";
        $last = "\n$start ;\$GLOBALS['codling_last'] = '{$GLOBALS['_']}';";
        unset($GLOBALS["_"]);
        return "?>" . $text . $last;
    })());
}
