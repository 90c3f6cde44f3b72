from agon_vote_ingest.app import main

if __name__ == "__main__":
    main()
