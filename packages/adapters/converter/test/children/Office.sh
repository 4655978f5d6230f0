#!/bin/sh
# Plays an office program: whatever it is given, the folder after --outdir gets a PDF of one page.
folder=
while [ $# -gt 1 ]; do
  [ "$1" = "--outdir" ] && folder=$2
  shift
done
[ -z "$folder" ] && echo "Office 1.0" && exit 0
mkdir -p "$folder"
cat > "$folder/made.pdf" <<'PDF'
%PDF-1.4
1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj
2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] >> endobj
trailer << /Size 4 /Root 1 0 R >>
%%EOF
PDF
