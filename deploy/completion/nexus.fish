# nexus: completion for fish. Once: nexus completion fish > ~/.config/fish/completions/nexus.fish
function __nexus_candidates
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for text in ($program completion candidates -- $words "$current" 2>/dev/null </dev/null)
        switch $text
            case :local
                __fish_complete_path "$current"
            case :open
            case '*'
                echo $text
        end
    end
end
complete -c nexus -f -a '(__nexus_candidates)'
