# Prints a document with the figures of counts.txt in it: awk -f figures.awk counts.txt DOCUMENT
# (tables' rows, and the sentences that are named here).

function commas(n) { return n < 1000 ? n "" : commas(int(n / 1000)) sprintf(",%03d", n % 1000) }
function thousands(n) { return sprintf(n < 100000 ? "%.1f" : "%.0f", n / 1000) }
# Of a program on the Cortex-M4F.
function count(program) { return commas(instructions["cortex-m4", program]) }
function counts(program) { return count(program) " (" thousands(cycles["cortex-m4", program]) ")" }

FNR == NR {
  if ($1 !~ /^#/) {
    instructions[$1, $2] = $3; cycles[$1, $2] = $4; flash[$1, $2] = $5; stack[$1, $2] = $6
  }
  next
}

# | train sensor, Adam, longest slice | …
/^\| (train|predict) / {
  split($0, cell, / *\| */)
  program = cell[2]
  slice = sub(/, longest slice$/, "", program)
  gsub(/,? /, "-", program)
  program = tolower(program)
  if (slice) sub(/^train/, "slice", program)
  m4 = "cortex-m4" SUBSEP program; m0 = "cortex-m0" SUBSEP program
  printf "| %s | %s | %s | %s | %d | ", cell[2], commas(instructions[m4]), commas(cycles[m4]), commas(flash[m4]), stack[m4]
  print (m0 in instructions ? commas(instructions[m0]) " | " stack[m0] : "– | –") " |"
  next
}

# | microprop, fused | … | RAM |
/^\| microprop, (portable|fused) \|/ {
  split($0, cell, / *\| */)
  fused = cell[2] ~ /fused/ ? "-fused" : ""
  printf "| %s | %s | %s | %s | ", cell[2], counts("train-seed" fused), counts("train-sensor" fused), counts("train-sensor-adam" fused)
  print count("predict-seed" fused) " / " count("predict-sensor" fused) " | " cell[7] " |"
  next
}

{
  sub(/is [0-9,]+ instructions on a Cortex-M4F by SGD, [0-9,]+ by Adam/,
    "is " count("slice-sensor") " instructions on a Cortex-M4F by SGD, " count("slice-sensor-adam") " by Adam")
  sub(/and [0-9,]+ on a Cortex-M0 without FPU, where the step takes [0-9,]+/,
    "and " commas(instructions["cortex-m0", "slice-sensor"]) " on a Cortex-M0 without FPU, where the step takes " \
      commas(instructions["cortex-m0", "train-sensor"]))
  sub(/seed net takes a Cortex-M4F [0-9,]+ instructions/, "seed net takes a Cortex-M4F " count("train-seed") " instructions")
  sub(/^portable arithmetic, or [0-9,]+ in fused, and [0-9]+ bytes of stack/,
    "portable arithmetic, or " count("train-seed-fused") " in fused, and " stack["cortex-m4", "train-seed"] " bytes of stack")
  print
}
