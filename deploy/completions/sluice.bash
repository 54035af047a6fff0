# bash completion for sluice, sluiced and sluice-netns. Options and commands are those that the programs' own --help tells,
# so that they are always those of the installed version.

# _sluice_help PROGRAM [COMMAND...]: its help, and nothing when it cannot be run.
_sluice_help() { "$@" --help 2>/dev/null; }

# The long options and the commands in a help text on stdin, and "--" behind each option that takes a value.
_sluice_options() { sed -nE 's/^  ([^ ].*,)?(--[a-z-]+).*/\2/p'; }
_sluice_valued() { sed -nE 's/^  ([^ ].*,)?(--[a-z-]+) (TEXT|INT).*/\2/p'; }
_sluice_commands() { sed -nE '/^Subcommands:/,/^$/s/^  ([a-z][a-z-]*).*/\1/p'; }

# The words of a command line before the one being typed that are commands: at most two.
_sluice_path() {
	local word at commands path=("$1")
	for ((at = 1; at < COMP_CWORD; at++)); do
		word=${COMP_WORDS[at]}
		[[ $word == -- ]] && break
		[[ $word == -* ]] && continue
		commands=$(_sluice_help "${path[@]}" | _sluice_commands)
		[[ -n $commands ]] || break
		[[ $'\n'$commands$'\n' == *$'\n'"$word"$'\n'* ]] && path+=("$word")
	done
	printf '%s\n' "${path[@]}"
}

# compgen's options, with one word a line.
_sluice_reply() {
	local IFS=$'\n'
	mapfile -t COMPREPLY < <(compgen "$@" -- "${COMP_WORDS[COMP_CWORD]}")
}

# What may stand behind the option $1. 1: nothing that is known.
_sluice_value() {
	case $1 in
		--policy | --audit | --seccomp | --config | --proxy | --netns | --mask | --i-know | --tmpfs | --seed | --bind) _sluice_reply -f ;;
		--workspace | --keep-changes) _sluice_reply -d ;;
		--root) _sluice_reply -d -W "$(echo host && "${COMP_WORDS[0]}" root list 2>/dev/null | awk '{print $1}')" ;;
		--root-mode) _sluice_reply -W $'readonly\noverlay' ;;
		--despite) _sluice_reply -W $'link\nnet_admin\nvsock' ;;
		--pass-env) _sluice_reply -v ;;
		--pid) _sluice_reply -W "$(cd /proc && printf '%s\n' [0-9]*)" ;;
		*) return 1 ;;
	esac
}

# What may stand in place of an argument of PROGRAM [COMMAND...].
_sluice_argument() {
	case ${*:2} in
		stop | logs) _sluice_reply -W "$("$1" ps 2>/dev/null | awk 'NR > 1 {print $1}')" ;;
		delete | exec) _sluice_reply -W "$("$1" list 2>/dev/null | awk 'NR > 1 {print $1}')" ;;
		'root delete') _sluice_reply -W "$("$1" root list 2>/dev/null | awk '{print $1}')" ;;
		'policy presets') _sluice_reply -W "$("$1" policy presets 2>/dev/null | awk '/^[a-z]/ {print $1}')" ;;
		*) compopt -o default 2>/dev/null ;;
	esac
}

_sluice() {
	local path help at word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	for ((at = 1; at < COMP_CWORD; at++)); do
		if [[ ${COMP_WORDS[at]} == -- ]]; then
			# The agent's own command line, from here on.
			if declare -F _command_offset >/dev/null; then
				_command_offset $((at + 1))
			elif ((COMP_CWORD == at + 1)); then
				_sluice_reply -c
			else
				_sluice_reply -f
			fi
			return
		fi
	done
	mapfile -t path < <(_sluice_path "${COMP_WORDS[0]}")
	help=$(_sluice_help "${path[@]}")
	if grep -qxe "$last" <<<"$(_sluice_valued <<<"$help")"; then
		_sluice_value "$last"
	elif [[ $word == -* ]]; then
		_sluice_reply -W "$(_sluice_options <<<"$help")"
	elif [[ -n $(_sluice_commands <<<"$help") ]]; then
		_sluice_reply -W "$(_sluice_commands <<<"$help")"
	else
		_sluice_argument "${path[@]}"
	fi
}

complete -F _sluice sluice sluiced sluice-netns
