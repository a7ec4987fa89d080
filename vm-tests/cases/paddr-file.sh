# The pages of a file are where it says: /dev/mem has there what was written into the file.
. ../helpers.sh

pages=16
page_size
make_marker marker $pages
must paddr --quiet --file marker --touch
count=0
while read -r address state physical domain; do
    equal "the state of $address" "$state" MAPPED
    equal "what is at $physical" "$(page_of /dev/mem "$physical")" "$(page_of marker $((count * page)))"
    count=$((count + 1))
done << END
$out
END
equal 'the number of pages' $count $pages

# One page of them, named by a byte of the file.
must paddr --quiet --file marker --touch --offset $((3 * page + 1)) --length 1
read -r address state physical domain << END
$out
END
equal "what is at $physical" "$(page_of /dev/mem "$physical")" "$(page_of marker $((3 * page)))"
