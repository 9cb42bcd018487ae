<?php
// Runs main.php and gives back the key (descriptor 4 to 3) when it has come to its end. The key lives in a suspended
// generator, which no other code can reach; the program runs in the global scope, and its source is gone from the disk.
foreach ((function () {
    $write = fopen("php://fd/3", "w");
    $key = stream_get_contents(fopen("php://fd/4", "r"));
    yield;
    fwrite($write, $key);
})() as $_) {
    unset($_);
    eval((function () {
        $text = file_get_contents("main.php");
        unlink("main.php");
        return "?>" . $text;
    })());
}
