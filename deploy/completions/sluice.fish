# fish completion for sluice, sluiced and sluice-netns. Options and commands are those that the programs' own --help tells,
# so that they are always those of the installed version.

# The program and the commands of the line being typed: at most three words.
function __sluice_path
    set -l words (commandline -opc)
    set -l path $words[1]
    for word in $words[2..]
        string match -q -- '-*' $word; and continue
        contains -- $word (__sluice_commands $path | string split -f1 \t); and set -a path $word
    end
    printf '%s\n' $path
end

function __sluice_help
    $argv --help 2>/dev/null
end

# NAME and what it does, with a tab between, of the commands in its help.
function __sluice_commands
    __sluice_help $argv | sed -nE '/^Subcommands:/,/^$/s/^  ([a-z][a-z-]*) +(.*)/\1\t\2/p'
end

function __sluice_options
    __sluice_help $argv | sed -nE 's/^  ([^ ].*,)?(--[a-z-]+)( [^ ]+)*( {2,}(.*))?$/\2\t\5/p'
end

# Behind -- stands the agent's own command line.
function __sluice_before_command
    not contains -- -- (commandline -opc)
end

function __sluice_value
    switch (commandline -opc)[-1]
        case --root-mode
            printf '%s\n' readonly overlay
        case --despite
            printf '%s\n' link net_admin vsock
        case '*'
            return 1
    end
end

function __sluice_complete
    set -l path (__sluice_path)
    __sluice_value; and return
    if string match -q -- '-*' (commandline -ct)
        __sluice_options $path
        return
    end
    set -l commands (__sluice_commands $path)
    if test -n "$commands"
        printf '%s\n' $commands
    else if contains -- $path[-1] stop logs
        $path[1] ps 2>/dev/null | awk 'NR > 1 {print $1}'
    else if test (count $path) -eq 2; and contains -- $path[2] delete exec
        $path[1] list 2>/dev/null | awk 'NR > 1 {print $1}'
    end
end

for program in sluice sluiced sluice-netns
    complete -c $program -n __sluice_before_command -a '(__sluice_complete)'
end
# Where commands stand no file does.
complete -c sluice -n 'test (count (commandline -opc)) -eq 1' -f
complete -c sluice-netns -n 'test (count (commandline -opc)) -eq 1' -f
