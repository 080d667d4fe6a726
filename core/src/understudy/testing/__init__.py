"""For tests of programs that use Understudy."""
