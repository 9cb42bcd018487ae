# Runs main.pl and gives back the key (descriptor 4 to 3) when it has come to its end. The key is a lexical variable of a
# subroutine, which the program, compiled elsewhere, has no name for.
sub {
    open(my $in, "<&=", 4) or die;
    my $key = do { local $/; <$in> };
    close $in;
    do "./main.pl";
    die $@ if $@;
    $| = 1;
    open(my $out, ">&=", 3) or die;
    syswrite $out, $key;
}->();
