# Writes embedded_presets.cc, which defines presets(), into the build directory. Raw strings keep
# the files as they are; a changed file configures anew.
set(preset_names
  claude-code
  claude-code-telemetry
  codex
  copilot
  gemini
  github
  gitlab
  model-apis
  opencode)

set(embedded_presets)
foreach(name IN LISTS preset_names)
  set(preset_file ${CMAKE_CURRENT_LIST_DIR}/${name}.yaml)
  file(READ ${preset_file} preset_text)
  string(APPEND embedded_presets "    {\"${name}\", R\"preset(${preset_text})preset\"},\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${preset_file})
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/embedded_presets.cc.in
  ${CMAKE_CURRENT_BINARY_DIR}/embedded_presets.cc @ONLY)
target_sources(allowlists PRIVATE preset.cc ${CMAKE_CURRENT_BINARY_DIR}/embedded_presets.cc)
